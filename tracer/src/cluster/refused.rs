//! Objects that the user may not read. The follow continues without them, and says what is
//! unknown.

use super::{ClusterError, Rule};
use crate::inventory::list;

/// The resource that has the endpoints of Services.
pub(super) const SLICES: &str = "EndpointSlices";

/// Refused resources, with the server's messages.
#[derive(Default)]
pub(super) struct Refused {
    what: Vec<&'static str>,
    whys: Vec<String>,
}

impl Refused {
    /// Continues without a resource that the user may not read.
    pub(super) fn unless<T>(
        &mut self,
        what: &'static str,
        read: Result<T, ClusterError>,
    ) -> Result<Option<T>, ClusterError> {
        match read {
            Err(ClusterError::Forbidden(why)) => {
                if !self.what.contains(&what) {
                    self.what.push(what);
                    self.whys.push(why);
                }
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// The consequences for the follow, and the RBAC rules that would allow the requests.
    pub(super) fn said(self) -> Option<String> {
        if self.what.is_empty() {
            return None;
        }
        let mut rules: Vec<String> = Vec::new();
        for why in &self.whys {
            let rule = Rule::asked_for(why);
            let rule = rule.map_or_else(
                || format!("what allows it ({why})"),
                |rule| rule.to_string(),
            );
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        let names = self.what.iter().any(|what| *what != SLICES);
        let names = names.then_some("their addresses have no names here");
        let led = self.what.contains(&SLICES);
        let led = led.then_some("no Service is known to lead to a pod");
        let lost: Vec<&str> = names.into_iter().chain(led).collect();
        Some(format!(
            "{} may not be read, so {}: add {}",
            list(&self.what, "and"),
            list(&lost, "and"),
            list(&rules, "and")
        ))
    }
}
