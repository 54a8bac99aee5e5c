//! A panic while the view has the terminal. It happens in a process with a terminal of its own.

use std::{
    env,
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
};

use nix::{pty::openpty, sys::termios::tcgetattr};

use crate::view::live::screen::Taken;

/// Tells this test that it runs in the process that panics.
const INSIDE: &str = "TRACER_TEST_PANICS_INSIDE";

/// Sequences that are written when the terminal is taken, and when it is given back: the other
/// screen, the cursor, and the mouse.
const TAKEN: [&str; 3] = ["\x1b[?1049h", "\x1b[?25l", "\x1b[?1000h"];
const GIVEN_BACK: [&str; 3] = ["\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l"];

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    if env::var_os(INSIDE).is_some() {
        return panic_inside();
    }
    let pty = openpty(None, None).expect("a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("another of it"));
    let before = tcgetattr(pty.slave.as_fd()).expect("its modes");
    // The command holds ends of the terminal, and is dropped after this statement.
    let mut inside = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture"])
        .arg("view::live::tests::panic::a_panic_gives_the_terminal_back_before_it_is_told")
        .envs([(INSIDE, ""), ("RUST_BACKTRACE", "0")])
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("it starts");
    // If nobody reads from the terminal, writers block.
    let mut master = File::from(pty.master.try_clone().expect("another of it"));
    let read = thread::spawn(move || {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        // Once nobody has the other end, reading fails.
        while let Ok(bytes @ 1..) = master.read(&mut some) {
            all.extend_from_slice(&some[..bytes]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let ended = inside.wait().expect("it ends");
    let after = tcgetattr(pty.slave.as_fd()).expect("its modes");
    drop(pty.slave);
    let sent = read.join().expect("it is read");

    assert!(ended.success(), "{sent}");
    assert_eq!(after, before, "{sent}");
    let at = |piece: &str| {
        sent.find(piece)
            .unwrap_or_else(|| panic!("{piece:?}: {sent:?}"))
    };
    let told = at("drawn no further");
    for (taken, given_back) in TAKEN.into_iter().zip(GIVEN_BACK) {
        assert!(at(taken) < at(given_back), "{given_back:?}: {sent:?}");
        assert!(at(given_back) < told, "{given_back:?}: {sent:?}");
    }
    // The terminal does not wait for the rest of a picture.
    assert!(
        sent.rfind("\x1b[?2026h") < sent.rfind("\x1b[?2026l"),
        "{sent:?}"
    );
}

/// As in the view, the thread with the terminal panics while it draws.
fn panic_inside() {
    let drawing = thread::spawn(|| {
        let mut taken = Taken::take().expect("a terminal");
        taken.draw(|_| panic!("drawn no further"))
    });
    assert!(drawing.join().is_err(), "it panicked");
}
