//! Makes the image in memory with which a machine boots. The image has the lab's programs with this
//! machine's libraries, the kernel's modules, and `tracer`. It also has the tests with a script
//! that runs them, or the program that plays a node of a lab.

use std::{
    env,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tracer_tests::lab::MACHINE_VARIABLE;

use super::{
    archive::Archive,
    cache,
    debian::{Kernel, files_below},
    recordings,
};
use crate::check::BINARY;

/// The line on the serial console before the tests begin.
pub(super) const BEGIN: &str = "tracer-machine: begin";
/// The line after the tests, before their exit status.
pub(super) const END: &str = "tracer-machine: end ";

/// The programs that the lab and its tests run.
const PROGRAMS: &[&str] = &[
    "bash",
    "bridge",
    "conntrack",
    "ethtool",
    "ip",
    "ip6tables-legacy",
    "iperf3",
    "iptables-legacy",
    "ipvsadm",
    "nft",
    "ping",
    "tc",
    "tcpdump",
    "teamnl",
    "wg",
];

/// The folder of iptables' matches and targets.
const XTABLES: &str = "/usr/lib/x86_64-linux-gnu/xtables";

/// The commands of busybox that the script and the tests run.
const BUSYBOX: &[&str] = &[
    "bin/base64",
    "bin/dmesg",
    "bin/mount",
    "bin/poweroff",
    "bin/sh",
    "bin/sleep",
    "bin/stat",
    "sbin/modprobe",
];

/// Writes the image of a kernel. Its script runs `programs` with `args` and `environment`.
pub(super) fn build(
    kernel: &Kernel,
    programs: &[PathBuf],
    tracer: &Path,
    args: &[String],
    environment: &[(&str, String)],
) -> Result<PathBuf> {
    let mut files = vec![
        ("usr/bin/tracer".to_owned(), tracer.to_owned()),
        (
            "usr/bin/tracer-agent".to_owned(),
            tracer.with_file_name("tracer-agent"),
        ),
    ];
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        files.push((format!("tests/{}", name.to_string_lossy()), program.clone()));
    }
    let path = cache()?.join(format!("{}.image", kernel.version));
    write(kernel, &path, &files, &script(args, environment))?;
    Ok(path)
}

/// Writes the image of a kernel whose machine plays a node of a lab with the program `lab`.
pub(super) fn build_node(kernel: &Kernel, path: &Path, lab: &Path, tracer: &Path) -> Result<()> {
    let files = [("usr/bin/tracer", tracer), ("usr/bin/lab", lab)];
    let files = files.map(|(at, program)| (at.to_owned(), program.to_owned()));
    write(kernel, path, &files, &script_of_node())
}

/// Writes an image with these programs, and with the files that every machine has.
fn write(kernel: &Kernel, path: &Path, files: &[(String, PathBuf)], script: &str) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(path)?));
    for directory in ["dev", "proc", "run", "sys", "tmp", recordings::DIRECTORY] {
        archive.directory(directory)?;
    }
    archive.file("bin/busybox", &fs::read(&kernel.busybox)?)?;
    for name in BUSYBOX {
        archive.link(name, "/bin/busybox")?;
    }
    let modules = Path::new("lib/modules").join(&kernel.version);
    for file in files_below(&kernel.modules)? {
        let inside = modules.join(file.strip_prefix(&kernel.modules)?);
        archive.file(&inside.to_string_lossy(), &fs::read(&file)?)?;
    }
    for name in PROGRAMS {
        add_program(&mut archive, &format!("usr/bin/{name}"), &in_path(name)?)?;
    }
    for extension in files_below(Path::new(XTABLES))? {
        let at = extension.strip_prefix("/")?.to_string_lossy().into_owned();
        add_program(&mut archive, &at, &extension)?;
    }
    for (at, program) in files {
        add_program(&mut archive, at, program)?;
    }
    archive.file("init", script.as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// Adds a program and its libraries, each at the path where the program expects it.
fn add_program<W: std::io::Write>(
    archive: &mut Archive<W>,
    at: &str,
    program: &Path,
) -> Result<()> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    archive.file(at, &read(program)?)?;
    let linked = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    for library in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
        if library.starts_with('/') {
            archive.file(library, &read(Path::new(library))?)?;
        }
    }
    Ok(())
}

fn in_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed"))
}

/// The beginning of every machine's script.
const MOUNTS: &str = "mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
cd /tmp
";

/// As [`script`], for a machine that plays a node. The script loads the drivers of the emulator's
/// network card and serial lines, because nothing else loads them here.
fn script_of_node() -> String {
    format!(
        "#!/bin/sh -e
export PATH=/usr/bin:/sbin:/bin {MACHINE_VARIABLE}=1
{MOUNTS}for driver in virtio_pci virtio_net virtio_console; do
    # Some kernels have it built in.
    modprobe $driver || true
done
lab serve
poweroff -f
"
    )
}

/// The script that the kernel runs as its first program. If the script fails, the kernel panics.
fn script(args: &[String], environment: &[(&str, String)]) -> String {
    let args: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
    let variables = environment.iter();
    let variables: Vec<_> = variables
        .map(|(name, value)| format!("{name}={}", quoted(value)))
        .collect();
    format!(
        "#!/bin/sh -e
export PATH=/usr/bin:/sbin:/bin {BINARY}=/usr/bin/tracer {MACHINE_VARIABLE}=1 {}
{MOUNTS}echo '{BEGIN}'
status=0
for program in /tests/*; do
    $program --test-threads=1 {} || status=1
done
{}echo \"{END}$status\"
poweroff -f
",
        variables.join(" "),
        args.join(" "),
        recordings::telling(),
    )
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_what_they_are() {
        let variable = ("TRACER_ANY", "a b".to_owned());
        let script = script(&["it's".to_owned(), "$HOME x".to_owned()], &[variable]);
        assert!(script.contains(" TRACER_ANY='a b'\n"), "{script}");
        assert!(
            script.contains(r"--test-threads=1 'it'\''s' '$HOME x' ||"),
            "{script}"
        );
    }
}
