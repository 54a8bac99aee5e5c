//! From tokens to an expression: negation binds closest, `or` least.

use super::{
    error::{QueryError, Wrong},
    model::Expr,
    values,
    words::{Placed, Token, text, words},
};

/// Limit of parentheses and negations around a term. The parser, and code that walks the
/// expression, recurse to this depth.
pub(super) const DEPTH: usize = 32;

/// Reads a whole query.
pub(super) fn parse(query: &str) -> Result<Expr, QueryError> {
    let tokens = words(query)?;
    if tokens.is_empty() {
        return Err(QueryError {
            at: 1,
            word: query.to_owned(),
            wrong: Wrong::Empty,
        });
    }
    let mut parser = Parser {
        tokens: &tokens,
        depth: 0,
    };
    let expr = parser.any()?;
    match parser.tokens.first() {
        Some(rest) => Err(wrong(rest, Wrong::Close)),
        None => Ok(expr),
    }
}

struct Parser<'a> {
    /// Tokens that are left.
    tokens: &'a [Placed],
    depth: usize,
}

impl<'a> Parser<'a> {
    fn next_if(&mut self, is: impl Fn(&Token) -> bool) -> Option<&'a Placed> {
        let (first, rest) = self.tokens.split_first()?;
        is(&first.token).then(|| {
            self.tokens = rest;
            first
        })
    }

    /// Reads alternatives, joined by `or`.
    fn any(&mut self) -> Result<Expr, QueryError> {
        let mut any = vec![self.all(None)?];
        while let Some(or) = self.next_if(is_or) {
            any.push(self.all(Some(or))?);
        }
        Ok(one_or(any, Expr::Any))
    }

    /// Reads adjacent terms, after the token `before`.
    fn all(&mut self, before: Option<&Placed>) -> Result<Expr, QueryError> {
        let mut all = Vec::new();
        while let Some(first) = self.tokens.first() {
            match &first.token {
                Token::Close => break,
                token if is_or(token) => {
                    if all.is_empty() {
                        return Err(wrong(first, Wrong::Lonely("before")));
                    }
                    break;
                }
                _ => all.push(self.one()?),
            }
        }
        match (all.is_empty(), before, self.tokens.first()) {
            (false, ..) => Ok(one_or(all, Expr::All)),
            (true, Some(before), _) => Err(wrong(before, Wrong::Lonely("behind"))),
            (true, None, Some(close)) => Err(wrong(close, Wrong::Lonely("before"))),
            (true, None, None) => unreachable!("whoever opens looks behind it first"),
        }
    }

    /// Reads a term, an expression in parentheses, or a negation.
    fn one(&mut self) -> Result<Expr, QueryError> {
        let (first, rest) = self.tokens.split_first().expect("there is one");
        self.tokens = rest;
        if let Token::Word(word) = &first.token {
            return values::term(word, first.at).map(Expr::Term);
        }
        if self.depth == DEPTH {
            return Err(wrong(first, Wrong::Deep(DEPTH)));
        }
        self.depth += 1;
        let expr = if first.token == Token::Not {
            let ends = |next: &Placed| next.token == Token::Close || is_or(&next.token);
            if self.tokens.first().is_none_or(ends) {
                return Err(wrong(first, Wrong::Lonely("behind")));
            }
            Expr::Not(Box::new(self.one()?))
        } else {
            if self.tokens.is_empty() {
                return Err(wrong(first, Wrong::Open));
            }
            let inner = self.any()?;
            if self.next_if(|token| *token == Token::Close).is_none() {
                return Err(wrong(first, Wrong::Open));
            }
            inner
        };
        self.depth -= 1;
        Ok(expr)
    }
}

fn one_or(mut exprs: Vec<Expr>, several: fn(Vec<Expr>) -> Expr) -> Expr {
    if exprs.len() == 1 {
        exprs.remove(0)
    } else {
        several(exprs)
    }
}

fn is_or(token: &Token) -> bool {
    let Token::Word(word) = token else {
        return false;
    };
    word.iter().all(|char| !char.quoted) && text(word).eq_ignore_ascii_case("or")
}

fn wrong(placed: &Placed, wrong: Wrong) -> QueryError {
    QueryError {
        at: placed.at,
        word: match &placed.token {
            Token::Not => "-".to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::Word(word) => text(word),
        },
        wrong,
    }
}
