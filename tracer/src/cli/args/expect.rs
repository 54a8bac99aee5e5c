//! The arguments of what is compared with expectations.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::END;

/// What has to become of flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ExpectArgs {
    /// Exit with 3 unless all flows in this file have the verdicts that it expects (docs/expectations.md)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = END)]
    pub expect_file: Option<PathBuf>,

    /// Write the result of each flow into this file as JUnit XML, for a CI system
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        requires = "expect_file",
        help_heading = END
    )]
    pub junit: Option<PathBuf>,
}
