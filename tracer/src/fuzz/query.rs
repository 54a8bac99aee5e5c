//! The text of `--where`, which anybody types or pastes.

use tracer_core::journal::Query;

/// Reads any text as a query. What is read has a display that means the same; what is refused
/// names a place in the text.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Query>() {
        Ok(query) => assert_eq!(query.to_string().parse(), Ok(query), "{text}"),
        Err(error) => {
            let characters = text.chars().count().max(1);
            assert!((1..=characters).contains(&error.at), "{error}");
        }
    }
}
