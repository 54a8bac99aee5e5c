use anyhow::Result;
use tracer_tests::program::{LIMIT, run};
use tracer_tests::{Process, process};

#[test]
fn every_help_has_examples_and_fits_a_terminal() -> Result<()> {
    let commands: [&[&str]; 5] = [&[], &["follow"], &["drops"], &["version"], &["completions"]];
    for command in commands {
        let ways: [Vec<&str>; 3] = [
            [command, &["--help"]].concat(),
            [command, &["-h"]].concat(),
            [&["help"], command].concat(),
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

/// What bash has no answer for, it completes by the names of files.
#[test]
fn bash_offers_files_where_a_command_takes_them() -> Result<()> {
    let script = run(["completions", "bash"])?.stdout;
    let answers = |words: [&str; 3]| -> Result<String> {
        let [program, command, word] = words;
        let ask = format!(
            "{script}\nCOMP_WORDS=({program} {command} '{word}'); COMP_CWORD=2\n\
             _tracer {program} '{word}' {command}\necho \"${{COMPREPLY[*]}}\"\n"
        );
        Ok(process::run(&mut process::command("bash"), &ask)?
            .trim()
            .to_owned())
    };
    for command in ["replay", "show", "stats"] {
        assert_eq!(answers(["tracer", command, ""])?, "", "{command}");
        assert!(
            answers(["tracer", command, "--out"])?.contains("--output"),
            "{command}"
        );
    }
    assert!(answers(["tracer", "follow", ""])?.contains("--src-pod"));
    Ok(())
}

#[test]
fn completions_are_scripts() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(["completions", shell])?;
        assert!(completions.status.success(), "{shell}");
        assert_eq!(completions.stderr, "", "{shell}");
        for word in ["follow", "src-pod", "dry-run", "completions"] {
            assert!(completions.stdout.contains(word), "{shell}: no {word}");
        }
        if shell == "bash" {
            let mut parse = process::command("bash");
            process::run(parse.arg("-n"), &completions.stdout)?;
        }
    }
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
