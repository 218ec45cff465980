//! Makes up slugs.

use crate::domain::Slug;

/// Letters and digits without look-alikes: no `0 O I l`.
const ALPHABET: [char; 58] = [
    '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M',
    'N', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i',
    'j', 'k', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
];

/// Gives slugs that nobody has thought of.
pub trait SlugSource: std::fmt::Debug + Send + Sync {
    /// A new slug of `length` characters, hard to guess, and free as far as chance goes.
    fn slug(&self, length: u8) -> Slug;
}

/// Slugs from the operating system's random source, by nanoid.
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomSlugs;

impl SlugSource for RandomSlugs {
    fn slug(&self, length: u8) -> Slug {
        loop {
            let text = nanoid::nanoid!(usize::from(length), &ALPHABET);
            // Google's front end keeps some paths that end in z: such a slug might not be reached on Cloud Run.
            if !text.ends_with('z')
                && !Slug::RESERVED.contains(&text.as_str())
                && let Ok(slug) = text.parse()
            {
                return slug;
            }
        }
    }
}
