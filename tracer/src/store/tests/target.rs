//! What stands under a trace's name, and since when.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    thread,
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::{Files, head, read, some_batches};
use crate::store::{Contents, JoinError, Reader, RecordError, Recordings, Rotation, Writer};

const EARLIER: &[u8] = b"yesterday's trace";

fn create(path: &Path) -> Writer {
    Writer::create(path, Rotation::default()).expect("it can be written")
}

fn names(files: &Files) -> Vec<String> {
    let entries = fs::read_dir(&files.0).expect("a directory").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_earlier_trace_stays_until_the_new_one_can_be_read() {
    let files = Files::new();
    let path = files.path("a.arrows");
    fs::write(&path, EARLIER).expect("room");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its owner");

    let mut writer = create(&path);
    assert_eq!(fs::read(&path).expect("a file"), EARLIER);
    writer.begin(head()).expect("room");
    // From here on a kill leaves a trace that can be read.
    assert_eq!(Reader::open(&path).expect("a trace").head(), &head());
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(
        mode & 0o777,
        0o600,
        "it is nobody else's business now either"
    );
    writer.end(9).expect("room");
    assert_eq!(names(&files), ["a.arrows"]);
}

#[test]
fn a_recording_that_never_begins_leaves_everything_as_it_was() {
    let files = Files::new();
    let path = files.path("a.arrows");
    fs::write(&path, EARLIER).expect("room");
    drop(create(&path));
    assert_eq!(fs::read(&path).expect("a file"), EARLIER);
    assert_eq!(names(&files), ["a.arrows"]);
    drop(create(&files.path("b.arrows")));
    assert_eq!(names(&files), ["a.arrows"]);
}

#[test]
fn a_piece_appears_with_its_head() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let always = Rotation {
        size: Some(1),
        ..Rotation::default()
    };
    let mut writer = Writer::create(&path, always).expect("a new file");
    writer.begin(head()).expect("room");
    // Who watches the directory sees no piece that cannot be read.
    let seen = files.path("a.1.arrows");
    fs::write(&seen, EARLIER).expect("room");
    let open = File::open(&seen).expect("a file");
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
    }
    let mut kept = Vec::new();
    (&open).read_to_end(&mut kept).expect("a file");
    assert_eq!(kept, EARLIER, "replaced, not overwritten");
    assert!(Reader::open(&seen).is_ok());
}

#[test]
fn a_link_stays_a_link() {
    let files = Files::new();
    let (path, link) = (files.path("a.arrows"), files.path("latest"));
    fs::write(&path, EARLIER).expect("room");
    symlink(&path, &link).expect("room");
    create(&link).begin(head()).expect("room");
    assert_eq!(fs::read_link(&link).expect("a link"), path);
    assert!(Reader::open(&path).is_ok());
}

#[test]
fn what_is_no_regular_file_is_written_as_it_is() {
    let files = Files::new();
    let fifo = files.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("room");
    let reader = thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).expect("a fifo")
    });
    let mut writer = create(&fifo);
    writer.begin(head()).expect("room");
    writer.end(9).expect("room");
    drop(writer);
    let bytes = reader.join().expect("no panic");
    assert!(read(&bytes).is_ok_and(|(_, cut)| !cut));
    assert_eq!(names(&files), ["fifo"]);
    create(Path::new("/dev/null")).begin(head()).expect("room");
    let null = fs::metadata("/dev/null").expect("a device");
    assert!(!null.is_file());
}

#[test]
fn a_directory_is_refused_before_anything_begins() {
    let files = Files::new();
    let refused = Writer::create(&files.0, Rotation::default());
    assert!(matches!(refused, Err(RecordError::Create { .. })));
}

/// A recording from a pipe, as `cat trace.arrows | tracer replay -` gives it.
fn piped(files: &Files, name: &str) -> (PathBuf, thread::JoinHandle<io::Result<()>>) {
    let bytes = fs::read(files.record(name, head(), &some_batches())).expect("a file");
    let fifo = files.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("room");
    let writer = fifo.clone();
    let written = thread::spawn(move || fs::write(writer, bytes));
    (fifo, written)
}

#[test]
fn what_can_be_read_once_is_replayed_alone() {
    let files = Files::new();
    let (fifo, written) = piped(&files, "a.arrows");
    let recorded = Recordings::open(std::slice::from_ref(&fifo)).expect("a trace");
    let read: Vec<_> = recorded.map(|next| next.expect("sound")).collect();
    assert!(read.len() > 3);
    // Until it has closed the pipe, the next reader would find it open and empty.
    written.join().expect("no panic").expect("all was read");

    // What went through a pipe is as long as the file that it came from.
    let path = files.path("a.arrows");
    let bytes = fs::read(&path).expect("a file");
    thread::spawn({
        let fifo = fifo.clone();
        move || fs::write(fifo, bytes)
    });
    let lengths = [path, fifo].map(|path| Contents::of(&path).expect("a trace").bytes);
    assert_eq!(lengths[0], lengths[1]);

    let alone = |path: &str| {
        let paths = [files.path("a.arrows"), path.into()];
        Recordings::open(&paths).map(drop).expect_err("not twice")
    };
    assert!(matches!(alone("-"), JoinError::Once { .. }));
    let error = alone(&files.path("fifo").to_string_lossy());
    assert!(matches!(error, JoinError::Once { .. }), "{error}");
}
