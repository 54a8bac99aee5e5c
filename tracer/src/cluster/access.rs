//! From kubeconfigs to a client, by kubectl's rules.
//!
//! The kubeconfig is the one that was named, else those of KUBECONFIG, merged, else
//! `~/.kube/config`. Where there is none, a pod uses its service account.

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

use super::error::{ClusterError, first_line};

/// A server that is there accepts a connection within a second or two, across a VPN too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster, and as whom: all empty is what kubectl uses without options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig, if it is not the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it, if it is not the current one.
    pub context: Option<String>,
    /// The user to act as.
    pub user: Option<String>,
}

/// A client for a cluster, made in the runtime that uses it.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace of what is named without one.
    pub namespace: String,
    /// What messages call it.
    pub place: Place,
}

/// A cluster, as messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The API server's URL.
    pub server: String,
    /// Where the credentials come from: `context kind of /root/.kube/config`.
    pub source: String,
    /// The command that gives them, if the kubeconfig names one.
    pub command: Option<String>,
}

impl Access {
    /// Makes a client. It runs the kubeconfig's credential command, if it names one, and
    /// sends nothing to the cluster. A client works within the tokio runtime that this is
    /// called in.
    ///
    /// # Errors
    /// If there is no kubeconfig, if it is damaged, or if it does not know the context; if
    /// the credential command fails.
    pub async fn connect(&self) -> Result<Cluster, ClusterError> {
        let (config, source) = self.config().await?;
        self.client(config, source)
    }

    /// The same where nobody may be asked for a password: `None` if the credential command has
    /// to ask, or could.
    pub(crate) async fn connect_unattended(&self) -> Option<Cluster> {
        let (mut config, source) = self.config().await.ok()?;
        let AuthInfo {
            exec,
            auth_provider,
            ..
        } = &mut config.auth_info;
        if exec.is_some() || auth_provider.is_some() {
            // Commands open the terminal itself for passwords. A session of its own has none.
            setsid().ok()?;
        }
        if let Some(exec) = exec {
            if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
                return None;
            }
            // Others can do without standard input.
            exec.interactive_mode = Some(ExecInteractiveMode::Never);
        }
        self.client(config, source).ok()
    }

    fn client(&self, mut config: Config, source: String) -> Result<Cluster, ClusterError> {
        // Fails if there is a provider already, which is as good.
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

    /// The contexts of the kubeconfig; none if it cannot be read.
    #[must_use]
    pub fn contexts(&self) -> Vec<String> {
        let kubeconfig = read(&self.paths(), self.kubeconfig.is_some());
        kubeconfig
            .ok()
            .flatten()
            .map_or_else(Vec::new, |kubeconfig| names_of(&kubeconfig))
    }

    /// The configuration, and what to call where it comes from.
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
        // kube asks NO_PROXY about the proxy and not about the server.
        if !proxy && Matcher::from_env().intercept(&config.cluster_url).is_none() {
            config.proxy_url = None;
        }
        Ok((config, format!("context {context} of {files}")))
    }

    /// The files to read, the first with the last word.
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

/// The names of a kubeconfig's contexts.
fn names_of(kubeconfig: &Kubeconfig) -> Vec<String> {
    let contexts = kubeconfig.contexts.iter();
    contexts.map(|context| context.name.clone()).collect()
}

/// The kubeconfigs as one; `None` if there is none.
///
/// If there are several, missing files count as empty, as with kubectl. A file that was
/// `named` has to exist.
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

/// What messages call the files.
fn files(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(":")
}
