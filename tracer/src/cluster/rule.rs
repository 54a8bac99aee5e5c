//! RBAC rules that errors tell an operator to add to a role.

use std::fmt::{self, Display, Formatter};

/// A missing RBAC rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verb: String,
    pub(crate) group: String,
    /// Resource with its subresource, as in `pods/exec`.
    pub(crate) resource: String,
    /// Namespace; `None`: all namespaces.
    pub(crate) namespace: Option<String>,
}

impl Rule {
    /// The rule that a refusal names. Kubernetes' text is in
    /// `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`: `…
    /// cannot VERB resource "RESOURCE" in API group "GROUP" in the namespace "NAMESPACE"`, or
    /// `… at the cluster scope`. `None` for the text of other authorizers.
    pub(super) fn asked_for(refusal: &str) -> Option<Self> {
        let (_, asked) = refusal.split_once(" cannot ")?;
        let (verb, rest) = asked.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = match rest.split_once(" in the namespace \"") {
            Some((_, rest)) => Some(rest.split_once('"')?.0.to_owned()),
            None => None,
        };
        Some(Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace,
        })
    }
}

impl Display for Rule {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{}\"]}} to ",
            self.group, self.resource, self.verb
        )?;
        match &self.namespace {
            Some(namespace) => write!(formatter, "a Role in {namespace}"),
            None => formatter.write_str("a ClusterRole"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    fn told(refusal: &str) -> Option<String> {
        Rule::asked_for(refusal).map(|rule| rule.to_string())
    }

    #[test]
    fn a_refusal_names_the_rule_that_is_missing() {
        let one = r#"pods "web" is forbidden: User "ann" cannot get resource "pods" in API group "" in the namespace "shop""#;
        let rule = r#"{apiGroups: [""], resources: ["pods"], verbs: ["get"]} to a Role in shop"#;
        assert_eq!(told(one).as_deref(), Some(rule));
        let all = r#"nodes "a" is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope"#;
        let rule = r#"{apiGroups: [""], resources: ["nodes"], verbs: ["list"]} to a ClusterRole"#;
        assert_eq!(told(all).as_deref(), Some(rule));
        let group = r#"deployments.apps "cart" is forbidden: User "system:serviceaccount:a:b" cannot get resource "deployments" in API group "apps" in the namespace "shop": RBAC: role.rbac.authorization.k8s.io "x" not found"#;
        let rule = r#"{apiGroups: ["apps"], resources: ["deployments"], verbs: ["get"]} to a Role in shop"#;
        assert_eq!(told(group).as_deref(), Some(rule));
    }

    #[test]
    fn a_refusal_in_other_words_names_no_rule() {
        assert_eq!(told("the webhook says no"), None);
        assert_eq!(told(r#"cannot get resource "pods"#), None);
    }
}
