//! Which cluster, and as whom.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::WHERE;
use crate::cluster::Access;

/// Which cluster to ask for its objects, and as whom, in kubectl's words.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccessArgs {
    /// Kubeconfig of the cluster; default: those of KUBECONFIG, ~/.kube/config, or the service account of
    /// a pod
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with = "inventory",
        help_heading = WHERE
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Context in the kubeconfig; default: its current one
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "inventory",
        help_heading = WHERE
    )]
    pub context: Option<String>,

    /// User to act as in the cluster
    #[arg(long = "as", value_name = "USER", conflicts_with = "inventory", help_heading = WHERE)]
    pub user: Option<String>,
}

impl AccessArgs {
    /// Whether a cluster was asked for.
    pub(in crate::cli) const fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || self.user.is_some()
    }

    /// What it says.
    #[must_use]
    pub fn access(&self) -> Access {
        let Self {
            kubeconfig,
            context,
            user,
        } = self.clone();
        Access {
            kubeconfig,
            context,
            user,
        }
    }
}
