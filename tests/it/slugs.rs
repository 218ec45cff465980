//! What a slug must be.

use curtail::domain::{Slug, SlugError, SlugPolicy};
use curtail::service::{RandomSlugs, SlugSource};

const ANYWHERE: SlugPolicy = SlugPolicy {
    refuse_final_z: false,
};
const CLOUD_RUN: SlugPolicy = SlugPolicy { refuse_final_z: true };

#[test]
fn a_slug_is_1_to_64_letters_digits_underscores_and_hyphens() {
    let long = "a".repeat(64);
    for text in [
        "a",
        "Z",
        "0",
        "_",
        "-",
        "x7Kq2mP",
        "under_score",
        "hy-phen",
        "-_-",
        "constructor",
        long.as_str(),
    ] {
        assert_eq!(
            text.parse::<Slug>().map(|slug| slug.to_string()),
            Ok(text.to_owned()),
            "{text:?}"
        );
    }
}

#[test]
fn anything_else_is_no_slug() {
    let long = "a".repeat(65);
    assert_eq!("".parse::<Slug>(), Err(SlugError::Empty));
    assert_eq!(long.parse::<Slug>(), Err(SlugError::TooLong));
    let bad = [
        " ",
        "a b",
        "a/b",
        "a.b",
        "a+b",
        "a%20",
        "a?b",
        "a#b",
        "é",
        "ａ",
        "日本",
        "😀",
        "a\n",
        "a\r\nb",
        "\0",
        "a\u{200b}",
        "a'b",
        "a\"b",
        "<a>",
        "..",
        "a\\b",
        "a:b",
        "a;b",
        "a,b",
        "a=b",
        "a&b",
        "a@b",
        "a!b",
        "a*b",
        "a(b",
        "a|b",
        "a~b",
        "a^b",
        "a`b",
        "a$b",
        "a{b",
        "a[b",
        "\u{7f}",
        "\u{1b}",
    ];
    for text in bad {
        assert_eq!(text.parse::<Slug>(), Err(SlugError::Char), "{text:?}");
    }
}

#[test]
fn a_slug_is_told_by_its_case() {
    assert_ne!("abc".parse::<Slug>().unwrap(), "ABC".parse::<Slug>().unwrap());
}

#[test]
fn reserved_words_cannot_be_claimed() {
    for word in Slug::RESERVED {
        assert_eq!(Slug::claim(word, ANYWHERE), Err(SlugError::Reserved), "{word:?}");
    }
    for word in ["apis", "Api", "healthy", "a_ah"] {
        assert!(Slug::claim(word, ANYWHERE).is_ok(), "{word:?}");
    }
}

#[test]
fn on_cloud_run_a_slug_does_not_end_in_z() {
    assert_eq!(Slug::claim("quiz", CLOUD_RUN), Err(SlugError::FinalZ));
    assert_eq!(Slug::claim("z", CLOUD_RUN), Err(SlugError::FinalZ));

    assert!(Slug::claim("quiz", ANYWHERE).is_ok());
    assert!(Slug::claim("quiZ", CLOUD_RUN).is_ok());
    assert!(Slug::claim("zebra", CLOUD_RUN).is_ok());
}

#[test]
fn generated_slugs_have_no_look_alikes_and_no_final_z() {
    let mut seen = std::collections::HashSet::new();
    let mut last = std::collections::HashSet::new();
    for _ in 0..20_000 {
        let slug = RandomSlugs.slug(7);
        let text = slug.as_str();
        assert_eq!(text.len(), 7);
        assert!(!text.contains(['0', 'O', 'I', 'l']), "{text}");
        assert!(!text.ends_with('z'), "{text}");
        last.insert(text.as_bytes()[6]);
        seen.insert(slug);
    }

    // 20,000 of 58^7: a repeat is a one in ten thousand chance.
    assert!(seen.len() >= 19_999);
    assert_eq!(last.len(), 57);
}
