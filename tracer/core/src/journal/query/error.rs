//! What is wrong with a query, in a sentence.

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` at character {at} {wrong}")]
pub struct QueryError {
    /// Which character it begins at, from 1.
    pub at: usize,
    /// What is wrong.
    pub word: String,
    /// How.
    pub wrong: Wrong,
}

/// What can be wrong with a word; the sentence goes on after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// There is nothing.
    #[error("asks for nothing: give a term such as verdict:dropped")]
    Empty,
    /// A parenthesis, or quotes.
    #[error("is never closed")]
    Open,
    /// A parenthesis.
    #[error("closes nothing")]
    Close,
    /// `or` or `-` without what belongs to it.
    #[error("needs a term {0} it")]
    Lonely(&'static str),
    /// More parentheses and negations than anybody writes.
    #[error("is nested too deep: give at most {0} levels")]
    Deep(usize),
    /// A key that is none.
    #[error("is no key: did you mean {0}:?")]
    Key(&'static str),
    /// A word without a key.
    #[error("is no term: did you mean {0}?")]
    Term(String),
    /// What other languages have for terms that all have to match.
    #[error("is not needed: terms side by side must all match")]
    And,
    /// What other languages have for `or`.
    #[error("is no term: write or between terms, and a comma between values")]
    Or,
    /// No value.
    #[error("has no value: give one such as {0}")]
    NoValue(&'static str),
    /// A word of a list.
    #[error("is no {what}: did you mean {nearest}?")]
    Choice {
        /// What it should be.
        what: &'static str,
        /// The nearest.
        nearest: &'static str,
    },
    /// Something else that is none.
    #[error("is no {what}: give one such as {example}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What would do.
        example: &'static str,
    },
    /// A range that is empty.
    #[error("ends before it begins")]
    Backwards,
}
