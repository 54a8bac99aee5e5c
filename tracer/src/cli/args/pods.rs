//! How agents' pods are made.

use std::{sync::Arc, time::Duration};

use clap::Args;

use super::{AccessArgs, WHERE};
use crate::{cli::values, link::Pods};

/// How agents' pods are made.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PodArgs {
    /// Image with tracer or a shell for agents' pods; default: a well-known one that the node has
    #[arg(long, value_name = "IMAGE", help_heading = WHERE)]
    pub agent_image: Option<String>,

    /// How long to wait for agents' pods to run
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        default_value = "60s",
        help_heading = WHERE
    )]
    pub wait: Duration,
}

impl PodArgs {
    /// What they say, for a cluster.
    pub(in crate::cli) fn pods(&self, access: &AccessArgs) -> Arc<Pods> {
        Arc::new(Pods {
            access: access.access(),
            image: self.agent_image.clone(),
            wait: self.wait,
            tells: true,
        })
    }
}
