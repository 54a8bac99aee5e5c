use std::{env, fs, os::unix::fs::symlink, process::Command};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::program::{LIMIT, run};
use tracer_tests::{Process, process};

/// All commands in the help's list.
fn commands() -> Result<Vec<String>> {
    let help = run(["--help"])?.stdout;
    let (_, listed) = help.split_once("Commands:\n").context("commands")?;
    // Descriptions continue on lines with more indentation.
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let commands = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands = commands.filter(|command| !["", "help"].contains(command));
    let commands: Vec<String> = commands.map(str::to_owned).collect();
    ensure!(commands.len() > 10, "only {commands:?} are listed");
    Ok(commands)
}

#[test]
fn every_help_has_examples_and_fits_a_terminal() -> Result<()> {
    let commands = commands()?;
    let named = commands.iter().map(|command| vec![&**command]);
    for command in [vec![]].into_iter().chain(named) {
        let ways: [Vec<&str>; 3] = [
            [&*command, &["--help"]].concat(),
            [&*command, &["-h"]].concat(),
            [&["help"], &*command].concat(),
        ];
        for args in ways {
            let help = run(&args)?;
            assert!(help.status.success(), "{args:?}");
            assert_eq!(help.stderr, "", "{args:?}");
            assert!(help.stdout.contains("\nEXAMPLES\n"), "{args:?}");
            for line in help.stdout.lines() {
                assert!(line.chars().count() <= 80, "{args:?}: too wide: {line}");
            }
        }
    }
    Ok(())
}

#[test]
fn without_a_command_there_is_help() -> Result<()> {
    let help = run([""; 0])?;
    assert_eq!(help.status.code(), Some(2));
    assert_eq!(help.stdout, "");
    assert!(help.stderr.contains("\nEXAMPLES\n"), "{}", help.stderr);
    Ok(())
}

#[test]
fn the_version_is_the_packages() -> Result<()> {
    let expected = concat!("tracer ", env!("CARGO_PKG_VERSION"), "\n");
    for args in ["version", "--version", "-V"] {
        let version = run([args])?;
        assert!(version.status.success());
        assert_eq!((&*version.stdout, &*version.stderr), (expected, ""));
    }
    Ok(())
}

/// The words that bash offers to complete the last of `words`.
pub(crate) fn bash_offers(words: &[&str]) -> Result<Vec<String>> {
    let script = run(["completions", "bash"])?.stdout;
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let ask = format!(
        "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}; COMP_TYPE=9\n\
         _clap_complete_tracer tracer '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words[last],
        words[last - 1],
    );
    let offered = process::run(&mut process::command("bash"), &ask)?;
    Ok(offered.lines().map(str::to_owned).collect())
}

#[test]
fn bash_offers_commands_options_values_and_files() -> Result<()> {
    let offers = |words: &[&str], wanted: &str| -> Result<()> {
        let offered = bash_offers(words)?;
        assert!(
            offered.iter().any(|one| one == wanted),
            "{words:?}: {offered:?}"
        );
        Ok(())
    };
    offers(&["tracer", "fol"], "follow")?;
    offers(&["tracer", "follow", "--src-p"], "--src-pod")?;
    offers(&["tracer", "follow", "--proto", "t"], "tcp")?;
    for command in ["replay", "show", "stats"] {
        offers(&["tracer", command, "tests/cl"], "tests/cli/")?;
        offers(&["tracer", command, "--out"], "--output")?;
    }
    Ok(())
}

/// A prompt is no place for an error.
#[test]
fn without_a_cluster_no_name_is_offered() -> Result<()> {
    let words = [
        "tracer",
        "follow",
        "--kubeconfig",
        "/nowhere",
        "--src-pod",
        "",
    ];
    assert_eq!(bash_offers(&words)?.concat(), "");
    Ok(())
}

#[test]
fn completions_are_scripts() -> Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = run(["completions", shell])?;
        assert!(completions.status.success(), "{shell}");
        assert_eq!(completions.stderr, "", "{shell}");
        assert!(completions.stdout.contains("COMPLETE"), "{shell}");
        if shell == "bash" {
            let mut parse = process::command("bash");
            process::run(parse.arg("-n"), &completions.stdout)?;
        }
    }
    Ok(())
}

/// For `kubectl packet-path`, kubectl runs a program with this name, and reads lines in cobra's
/// format.
#[test]
fn kubectl_completes_the_words_of_its_plugin() -> Result<()> {
    let directory = env::temp_dir().join(format!("tracer-kubectl-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let link = directory.join("kubectl_complete-packet_path");
    symlink(tracer_tests::program::binary()?, &link)?;
    let mut ask = process::command(link.to_str().expect("text"));
    let offered = process::run(ask.args(["follow", "--dst-s"]), "");
    fs::remove_dir_all(&directory)?;
    let offered = offered?;
    let mut lines = offered.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("--dst-service\t")),
        "{offered}"
    );
    assert_eq!(lines.next_back(), Some(":4"), "{offered}");
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() -> Result<()> {
    let tracer = tracer_tests::program::binary()?;
    for args in ["--help", "version", "completions bash", "completions zsh"] {
        let script = format!(
            "'{}' {args} | true; echo ${{PIPESTATUS[0]}}",
            tracer.display()
        );
        let mut command = process::command("bash");
        let ended = Process::start(command.args(["-c", &script]), "")?.finish(LIMIT)?;
        assert_eq!((&*ended.stdout, &*ended.stderr), ("0\n", ""), "{args}");
    }
    Ok(())
}

/// Each command has a page, which has the end of the command's help unchanged. groff has no
/// warnings.
#[test]
fn manual_pages_are_those_of_the_help() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pages = directory.path().join("man1");
    let written = run(["man".as_ref(), pages.as_os_str()])?;
    assert!(written.status.success(), "{}", written.stderr);
    assert_eq!((&*written.stdout, &*written.stderr), ("", ""));
    let mut names: Vec<_> = fs::read_dir(&pages)?
        .map(|entry| Ok(entry?.file_name().into_string().expect("ASCII")))
        .collect::<Result<_>>()?;
    names.sort();
    let mut expected: Vec<_> = commands()?
        .iter()
        .map(|command| format!("tracer-{command}.1"))
        .chain(["tracer.1", "tracer-extcap-install.1"].map(str::to_owned))
        .collect();
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        let path = pages.join(&name);
        let mut groff = Command::new("groff");
        let output = groff
            .args(["-Kutf8", "-man", "-Tutf8", "-P-cbou", "-rLL=200n", "-ww"])
            .arg(&path)
            .output()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        let shown = String::from_utf8(output.stdout)?;
        let name = name.trim_end_matches(".1");
        let command = name.strip_prefix("tracer-");
        let words = command.into_iter().flat_map(|command| command.split('-'));
        let help = run(words.chain(["--help"]))?.stdout;
        let (_, end) = help.split_once("\nEXAMPLES\n").context("examples")?;
        for line in end.lines().map(str::trim) {
            assert!(shown.contains(line), "{name}: `{line}` is not in\n{shown}");
        }
    }
    Ok(())
}

#[test]
fn manual_pages_need_a_directory_that_can_be_written() -> Result<()> {
    let refused = run(["man", "/proc/version/man1"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        refused.stderr,
        "tracer: cannot write /proc/version/man1: Not a directory (os error 20)\n"
    );
    Ok(())
}
