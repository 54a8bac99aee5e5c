//! Errors in a query, each as one sentence.

/// An error in a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` at character {at} {wrong}")]
pub struct QueryError {
    /// Position of the wrong word's first character, from 1.
    pub at: usize,
    /// The wrong word.
    pub word: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// Kinds of errors. In the message, their text follows the word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The query is empty.
    #[error("asks for nothing: give a term such as verdict:dropped")]
    Empty,
    /// A parenthesis or quotes are not closed.
    #[error("is never closed")]
    Open,
    /// A closing parenthesis has no opening one.
    #[error("closes nothing")]
    Close,
    /// `or` or `-` without its operand.
    #[error("needs a term {0} it")]
    Lonely(&'static str),
    /// Parentheses and negations are nested too deeply.
    #[error("is nested too deep: give at most {0} levels")]
    Deep(usize),
    /// The key is unknown.
    #[error("is not a key: did you mean {0}:?")]
    Key(&'static str),
    /// The word has no key, and is no known word.
    #[error("is not a term: did you mean {0}?")]
    Term(String),
    /// An operator that other languages use for terms that all have to match.
    #[error("is not needed: terms side by side must all match")]
    And,
    /// An operator that other languages use for `or`.
    #[error("is not a term: write or between terms, and a comma between values")]
    Or,
    /// The key has no value.
    #[error("has no value: give one such as {0}")]
    NoValue(&'static str),
    /// The value is not in the list of words.
    #[error("is not {what}: did you mean {nearest}?")]
    Choice {
        /// Kind of value that is expected, with its article.
        what: &'static str,
        /// The most similar word of the list.
        nearest: &'static str,
    },
    /// The value has the wrong form.
    #[error("is not {what}: give one such as {example}")]
    Value {
        /// Kind of value that is expected, with its article.
        what: &'static str,
        /// A valid example.
        example: &'static str,
    },
    /// The range ends before it begins.
    #[error("ends before it begins")]
    Backwards,
}
