//! The first process of a pod whose image has no shell.
//!
//! The agent comes by exec and is no child of this process. The agent writes its process id
//! into a file, and the pod shares the node's process ids. The pod lives until the agent has
//! ended, or until no agent has come for some time: a follow that is killed leaves nothing.
//! In an image with a shell, a script does the same (`link::script`).

use std::{fs, io, path::Path, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{sleep, timeout};

use crate::link::PATIENCE;

/// How often the file and the agent are looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Writes this process's id into the file that [`hold`] reads.
pub(super) fn tell(file: &Path) -> io::Result<()> {
    fs::write(file, format!("{}\n", std::process::id()))
}

/// Waits until the agent has ended whose process id the file gets.
///
/// The end of a pod's first process kills the agent, which then could not detach. If this
/// process is `told` to end, it tells the agent and waits on.
pub(super) async fn hold(file: &Path, told: impl Future<Output = ()>) {
    tokio::pin!(told);
    let (agent, is_told) = tokio::select! {
        agent = timeout(PATIENCE, arrival(file)) => (agent.ok(), false),
        // The agent may have come a moment ago.
        () = &mut told => (agent_in(file), true),
    };
    let Some(agent) = agent else {
        return;
    };
    let end = end(agent);
    tokio::pin!(end);
    if !is_told {
        tokio::select! {
            () = &mut end => return,
            () = told => {}
        }
    }
    // Signalling fails only if the agent has just ended. An agent that is told a second time
    // would end without detaching.
    let _: nix::Result<()> = kill(agent, Signal::SIGTERM);
    end.await;
}

/// Waits for an agent.
async fn arrival(file: &Path) -> Pid {
    loop {
        if let Some(agent) = agent_in(file) {
            return agent;
        }
        sleep(EVERY).await;
    }
}

/// The process whose id is in a file, as a whole line.
fn agent_in(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    let id: i32 = text.strip_suffix('\n')?.parse().ok()?;
    // Anything below 1 would signal a group of processes.
    (id > 0).then(|| Pid::from_raw(id))
}

/// Waits until a process has ended.
async fn end(process: Pid) {
    while kill(process, None) != Err(Errno::ESRCH) {
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        future,
        io::{BufRead as _, BufReader},
        path::PathBuf,
        process::{Child, Command, Stdio},
    };

    use tokio::{sync::oneshot, time::Instant};

    use super::*;

    /// A file for a process id that is removed with it.
    struct PidFile(PathBuf);

    impl PidFile {
        fn new(name: &str) -> Self {
            let name = format!("tracer-hold-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn write(&self, id: &str) -> io::Result<()> {
            fs::write(&self.0, id)
        }
    }

    impl Drop for PidFile {
        fn drop(&mut self) {
            // There may be none.
            drop(fs::remove_file(&self.0));
        }
    }

    /// An agent that says when it is told to end, and then takes a moment. It lives for a
    /// minute at most.
    fn agent() -> io::Result<Child> {
        let script = "trap \"echo told; sleep 0.5; exit 7\" TERM; echo ready; \
                      for i in $(seq 600); do sleep 0.1; done";
        let mut agent = Command::new("sh");
        agent.args(["-c", script]).stdout(Stdio::piped()).spawn()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_without_an_agent_ends_in_time() {
        let file = PidFile::new("none");
        let begun = Instant::now();
        hold(&file.0, future::pending()).await;
        assert_eq!(begun.elapsed(), PATIENCE);
        // One that is told does not wait.
        let begun = Instant::now();
        hold(&file.0, future::ready(())).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_whole_line_with_one_process_is_an_agent() -> io::Result<()> {
        let file = PidFile::new("words");
        // The last would be all processes.
        for words in ["", "12", "0\n", "-1\n", "x\n"] {
            file.write(words)?;
            let begun = Instant::now();
            hold(&file.0, future::pending()).await;
            assert_eq!(begun.elapsed(), PATIENCE, "{words:?}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_pod_ends_after_its_agent() -> Result<(), Box<dyn Error>> {
        let file = PidFile::new("ends");
        let mut agent = agent()?;
        file.write(&format!("{}\n", agent.id()))?;
        let mut holding = Box::pin(hold(&file.0, future::pending()));
        let early = timeout(3 * EVERY, &mut holding).await;
        assert!(early.is_err(), "the agent lives");
        agent.kill()?;
        agent.wait()?;
        timeout(Duration::from_secs(20), holding).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_pod_that_is_told_to_end_ends_its_agent_first() -> Result<(), Box<dyn Error>> {
        let file = PidFile::new("told");
        let mut agent = agent()?;
        let output = agent.stdout.take().ok_or("it was piped")?;
        let mut said = BufReader::new(output).lines();
        assert_eq!(said.next().transpose()?.as_deref(), Some("ready"));
        file.write(&format!("{}\n", agent.id()))?;
        let path = file.0.clone();
        let holding = tokio::spawn(async move { hold(&path, future::ready(())).await });
        let heard = tokio::task::spawn_blocking(move || {
            let heard = said.next().transpose();
            // It is there until its parent has asked for its end.
            agent.wait().map(|status| (heard, status.code()))
        });
        let (heard, code) = heard.await??;
        assert_eq!(heard?.as_deref(), Some("told"));
        assert_eq!(code, Some(7));
        timeout(Duration::from_secs(20), holding).await??;
        Ok(())
    }

    #[tokio::test]
    async fn a_pod_whose_agent_is_there_is_told_later() -> Result<(), Box<dyn Error>> {
        let file = PidFile::new("later");
        let mut agent = agent()?;
        let output = agent.stdout.take().ok_or("it was piped")?;
        let mut said = BufReader::new(output).lines();
        assert_eq!(said.next().transpose()?.as_deref(), Some("ready"));
        file.write(&format!("{}\n", agent.id()))?;
        let (tell, told) = oneshot::channel::<()>();
        let told = async { drop(told.await) };
        let mut holding = Box::pin(hold(&file.0, told));
        assert!(timeout(3 * EVERY, &mut holding).await.is_err());
        tell.send(()).expect("it waits");
        let waited = tokio::task::spawn_blocking(move || agent.wait());
        timeout(Duration::from_secs(20), holding).await?;
        assert_eq!(waited.await??.code(), Some(7));
        assert_eq!(said.next().transpose()?.as_deref(), Some("told"));
        Ok(())
    }

    #[test]
    fn the_pod_reads_the_process_id_that_the_agent_wrote() -> io::Result<()> {
        let file = PidFile::new("own");
        tell(&file.0)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let agent = runtime.block_on(arrival(&file.0));
        assert_eq!(agent, Pid::this());
        Ok(())
    }
}
