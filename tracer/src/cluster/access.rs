//! Makes a client from kubeconfigs, by kubectl's rules.
//!
//! The kubeconfig is the named one, or those of KUBECONFIG merged, or `~/.kube/config`. Without
//! a kubeconfig, a pod uses its service account.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::client::proxy::matcher::Matcher;
use kube::{
    Client, Config,
    config::{AuthInfo, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use nix::unistd::setsid;

use super::{
    error::{ClusterError, first_line},
    place::Place,
};

/// Limit for connecting. A reachable server accepts a connection within a second or two, also
/// across a VPN.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Cluster and user. If all fields are empty, they are those of kubectl without options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Path of the kubeconfig; `None`: the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; `None`: the current one.
    pub context: Option<String>,
    /// User to impersonate; `None`: nobody.
    pub user: Option<String>,
}

/// A client for a cluster, which works only in the runtime that created it.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// Namespace of objects that are named without one.
    pub namespace: String,
    /// Name of the cluster in messages.
    pub place: Place,
}

impl Cluster {
    /// Turns an error of a request into one of these.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is what `map_err` hands over"
    )]
    pub fn explain(&self, error: kube::Error) -> ClusterError {
        ClusterError::of(&error, &self.place)
    }
}

impl Access {
    /// Makes a client. It runs the kubeconfig's credential command, if there is one, and sends
    /// nothing to the cluster. The client works within the tokio runtime of the caller.
    ///
    /// # Errors
    /// If there is no kubeconfig, if it is invalid or lacks the context, or if the credential
    /// command fails.
    pub async fn connect(&self) -> Result<Cluster, ClusterError> {
        let (config, source) = self.config().await?;
        self.client(config, source)
    }

    /// As [`Access::connect`], if nobody may be asked for a password. `None` if the credential
    /// command asks, or might ask.
    pub(crate) async fn connect_unattended(&self) -> Option<Cluster> {
        let (mut config, source) = self.config().await.ok()?;
        let AuthInfo {
            exec,
            auth_provider,
            ..
        } = &mut config.auth_info;
        if exec.is_some() || auth_provider.is_some() {
            // Commands open the terminal for passwords. A new session has no terminal.
            setsid().ok()?;
        }
        if let Some(exec) = exec {
            if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
                return None;
            }
            // Other commands work without standard input.
            exec.interactive_mode = Some(ExecInteractiveMode::Never);
        }
        self.client(config, source).ok()
    }

    fn client(&self, mut config: Config, source: String) -> Result<Cluster, ClusterError> {
        // This fails if a provider is installed already, which is fine, too.
        let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        if let Some(user) = &self.user {
            config.auth_info.impersonate = Some(user.clone());
        }
        let server = config.cluster_url.to_string();
        let exec = config.auth_info.exec.as_ref();
        let place = Place {
            server: server.trim_end_matches('/').to_owned(),
            source,
            command: exec.and_then(|exec| exec.command.clone()),
        };
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| ClusterError::of(&error, &place))?;
        Ok(Cluster {
            client,
            namespace,
            place,
        })
    }

    /// Names of the kubeconfig's contexts; empty if it cannot be read.
    #[must_use]
    pub fn contexts(&self) -> Vec<String> {
        let kubeconfig = read(&self.paths(), self.kubeconfig.is_some());
        kubeconfig
            .ok()
            .flatten()
            .map_or_else(Vec::new, |kubeconfig| names_of(&kubeconfig))
    }

    /// The configuration, and the name of its source.
    async fn config(&self) -> Result<(Config, String), ClusterError> {
        let paths = self.paths();
        let Some(kubeconfig) = read(&paths, self.kubeconfig.is_some())? else {
            return self.in_cluster(paths);
        };
        let files = files(&paths);
        let contexts = names_of(&kubeconfig);
        let current = kubeconfig.current_context.clone().unwrap_or_default();
        let context = self.context.clone().unwrap_or(current);
        if context.is_empty() {
            return Err(ClusterError::NoContext { files, contexts });
        }
        if !contexts.contains(&context) {
            return Err(ClusterError::UnknownContext {
                files,
                name: context,
                contexts,
            });
        }
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        let proxy = proxy_of(&kubeconfig, &context);
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| ClusterError::Kubeconfig {
                files: files.clone(),
                why: first_line(&error),
            })?;
        // kube checks NO_PROXY for the proxy's address, not for the server's.
        if !proxy && Matcher::from_env().intercept(&config.cluster_url).is_none() {
            config.proxy_url = None;
        }
        Ok((config, format!("context {context} of {files}")))
    }

    /// Files to read; the first one takes precedence.
    fn paths(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return vec![path.clone()];
        }
        let listed = env::var_os("KUBECONFIG").unwrap_or_default();
        let listed = env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
        let listed: Vec<PathBuf> = listed.collect();
        if !listed.is_empty() {
            return listed;
        }
        let home = env::home_dir().map(|home| home.join(".kube/config"));
        home.into_iter().collect()
    }

    fn in_cluster(&self, paths: Vec<PathBuf>) -> Result<(Config, String), ClusterError> {
        let is_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if !is_pod || self.context.is_some() {
            return Err(ClusterError::NoKubeconfig(paths));
        }
        let config = Config::incluster_env().map_err(|error| ClusterError::ServiceAccount {
            why: first_line(&error),
        })?;
        Ok((config, "this pod's service account".to_owned()))
    }
}

/// Names of a kubeconfig's contexts.
fn names_of(kubeconfig: &Kubeconfig) -> Vec<String> {
    let contexts = kubeconfig.contexts.iter();
    contexts.map(|context| context.name.clone()).collect()
}

/// Merges the kubeconfigs; `None` if there is none.
///
/// Of several files, missing ones count as empty, as with kubectl. A `named` file must exist.
fn read(paths: &[PathBuf], named: bool) -> Result<Option<Kubeconfig>, ClusterError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let one = match Kubeconfig::read_from(path) {
            Ok(one) => one,
            Err(KubeconfigError::ReadConfig(source, _))
                if source.kind() == io::ErrorKind::NotFound && !named =>
            {
                continue;
            }
            Err(KubeconfigError::ReadConfig(source, _)) => {
                return Err(ClusterError::Unreadable {
                    path: path.clone(),
                    source,
                });
            }
            Err(error) => return Err(damaged(path, &error)),
        };
        merged = Some(match merged {
            Some(earlier) => earlier.merge(one).map_err(|error| damaged(path, &error))?,
            None => one,
        });
    }
    Ok(merged)
}

fn damaged(path: &Path, error: &KubeconfigError) -> ClusterError {
    ClusterError::Kubeconfig {
        files: path.display().to_string(),
        why: first_line(error),
    }
}

/// Whether the kubeconfig itself names a proxy for a context's cluster.
fn proxy_of(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|named| named.name == context);
    let cluster = context.and_then(|named| Some(&named.context.as_ref()?.cluster));
    let mut clusters = kubeconfig.clusters.iter();
    clusters
        .find(|named| Some(&named.name) == cluster)
        .and_then(|named| named.cluster.as_ref()?.proxy_url.as_deref())
        .is_some_and(|url| !url.is_empty())
}

/// Names of the files in messages.
fn files(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(":")
}
