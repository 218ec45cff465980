//! Cursors: a text that is taken is the text of the place that it names.
#![no_main]

use curtail::domain::Cursor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, i64)| {
    let (text, number) = input;
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert!(cursor.number() > 0);
        assert_eq!(cursor.to_string(), text);
    }
    let written = Cursor::at(number).to_string();
    assert_eq!(
        written.parse::<Cursor>().ok().map(Cursor::number),
        (number > 0).then_some(number)
    );
});
