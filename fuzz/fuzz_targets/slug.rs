//! Slugs: what is taken has the form of a slug, and is the text that was given.
#![no_main]

use curtail::domain::{Slug, SlugPolicy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = text.parse::<Slug>();
    let claimed = Slug::claim(text, SlugPolicy { refuse_final_z: true });
    assert_eq!(Slug::check(text).is_ok(), parsed.is_ok());
    if let Ok(claimed) = claimed {
        assert!(!text.ends_with('z') && !Slug::RESERVED.contains(&text));
        assert_eq!(Ok(claimed), parsed);
    }
    let Ok(slug) = parsed else { return };
    assert_eq!(slug.as_str(), text);
    assert!((1..=Slug::MAX_LEN).contains(&text.len()));
    assert!(
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    );
});
