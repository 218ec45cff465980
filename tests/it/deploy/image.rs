//! Names of images.

/// What is wrong with an image's name: a build next year must not take another image than today's.
pub fn image_fault(image: &str) -> Option<String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return (!good).then(|| format!("image: {image} has no true digest"));
    }
    // A colon before the last slash is a registry's port.
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        None => Some(format!("image: {image} has no tag")),
        Some((_, tag)) if tag == "latest" || tag.is_empty() => {
            Some(format!("image: {image} changes under our feet"))
        }
        Some(_) => None,
    }
}

/// The same, and also a tag that moves with each release of what is in the image: `17-bookworm` is another one next month.
/// Renovate adds the digest, and keeps both.
pub fn base_fault(image: &str) -> Option<String> {
    image_fault(image).or_else(|| {
        let tag = image.split('@').next()?.rsplit_once(':')?.1;
        let number = tag.split('-').next()?;
        (!number.contains('.')).then(|| format!("image: {image} moves with each release"))
    })
}
