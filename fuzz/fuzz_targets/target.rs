//! Targets: what is taken is safe to answer, is read back as it was written, and stays what it is.
#![no_main]

use curtail::domain::{TargetPolicy, TargetUrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, query) = input;
    let policy = TargetPolicy::default();
    let Ok(target) = TargetUrl::parse(text, &policy) else {
        return;
    };
    let written = target.as_str();
    assert!(written.len() <= TargetUrl::MAX_LEN);
    assert!(
        written.bytes().all(|b| b.is_ascii_graphic()),
        "no valid header: {written}"
    );
    assert!(written.starts_with("http://") || written.starts_with("https://"));
    assert_eq!(TargetUrl::from_stored(written).as_ref(), Ok(&target));
    assert_eq!(
        TargetUrl::parse(written, &policy).as_ref(),
        Ok(&target),
        "it changes when it is parsed again"
    );
    let longer = target.with_query(query);
    assert!(
        longer.bytes().all(|b| b.is_ascii_graphic()),
        "no valid header: {longer}"
    );
});
