//! `X-Forwarded-For`: what stands left of the entry that counts changes nothing.
#![no_main]

use curtail::domain::forwarded_for;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<&str>, &str, u8)| {
    let (lines, forged, hops) = input;
    let hops = usize::from(hops);
    let found = forwarded_for(&lines, hops);
    let entries: usize = lines.iter().map(|line| line.split(',').count()).sum();
    if hops == 0 || hops > entries {
        assert_eq!(found, None);
        return;
    }
    let with_line: Vec<&str> = [forged].into_iter().chain(lines.iter().copied()).collect();
    assert_eq!(forwarded_for(&with_line, hops), found, "a forged line counts");
    let mut with_entry = lines.clone();
    let first = format!("{forged},{}", lines[0]);
    with_entry[0] = &first;
    assert_eq!(forwarded_for(&with_entry, hops), found, "a forged entry counts");
});
