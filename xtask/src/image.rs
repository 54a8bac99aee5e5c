//! Makes container images from files, without a registry and without a container engine.
//!
//! Each is an OCI image layout in a tar archive, which skopeo, containerd and podman read
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>). The layout has blobs
//! that are named after their SHA-256, and `index.json`, which refers to them. The same files make
//! the same archive at any time and for any user.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    command::{quiet, say},
    dist,
};

/// The machine's architecture, as images name it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// The last parts of the OCI's media types.
const MANIFEST: &str = "manifest.v1+json";
const CONFIG: &str = "config.v1+json";
const LAYER: &str = "layer.v1.tar";

/// The time of all files in an image. A fixed time makes images reproducible.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// An image without its files.
pub(crate) struct Image<'a> {
    /// The name of an imported image on a node, with a registry and a tag.
    pub(crate) name: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    /// Annotations of the OCI, by name.
    pub(crate) labels: Value,
    /// The command that made the image.
    pub(crate) made_by: &'a str,
}

/// Makes the image of the agent, and prints its path and its size.
pub(crate) fn build() -> Result<()> {
    let program = dist::agent()?;
    let archive = program.with_file_name(ARCHIVE);
    let name = tracer(&program, &archive)?;
    let megabytes = fs::metadata(&archive)?.len() as f64 / 1e6;
    say(format!(
        "{}: {megabytes:.1} MB, {name} for linux/{ARCHITECTURE}",
        archive.display()
    ));
    Ok(())
}

/// The file name of tracer's image, beside the program that the image has.
pub(crate) const ARCHIVE: &str = "tracer.oci.tar";

/// Makes an image with the static agent and nothing else, and returns the image's name.
///
/// The image sets no user: agents load programs and enter namespaces, which takes root.
pub(crate) fn tracer(program: &Path, archive: &Path) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("localhost/tracer:{version}");
    let stage = stage(archive)?;
    let root = stage.path().join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(program, root.join("bin/tracer"))
        .with_context(|| format!("cannot copy {}", program.display()))?;
    let image = Image {
        name: &name,
        entrypoint: &["/bin/tracer"],
        labels: json!({
            "org.opencontainers.image.title": "tracer",
            "org.opencontainers.image.description":
                "The agent of tracer, which follows live packets through the kernels of nodes",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        }),
        made_by: "cargo xtask image",
    };
    image.pack(&root, archive)?;
    Ok(name)
}

impl Image<'_> {
    /// Writes the archive of an image with the files below `root`.
    pub(crate) fn pack(&self, root: &Path, archive: &Path) -> Result<()> {
        let stage = stage(archive)?;
        let layout = stage.path().join("layout");
        let blobs = Blobs(layout.join("blobs/sha256"));
        fs::create_dir_all(&blobs.0)?;

        let layer = stage.path().join("layer.tar");
        tar(&layer, root)?;
        let layer = blobs.keep(&layer, LAYER)?;
        let config = json!({
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": CREATED,
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/bin"],
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            // The layer is not compressed, so its content is the blob.
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "history": [{"created": CREATED, "created_by": self.made_by}],
        });
        let config = blobs.write(stage.path(), &config, CONFIG)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type(MANIFEST),
            "config": config,
            "layers": [layer],
        });
        let mut manifest = blobs.write(stage.path(), &manifest, MANIFEST)?;
        let tag = self.name.rsplit(':').next().unwrap_or_default();
        manifest["platform"] = json!({"architecture": ARCHITECTURE, "os": "linux"});
        manifest["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag,
            // No annotation of the OCI has the whole name. containerd reads this one.
            "io.containerd.image.name": self.name,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type("index.v1+json"),
            "manifests": [manifest],
        });
        fs::write(layout.join("index.json"), index.to_string())?;
        let version = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(layout.join("oci-layout"), version.to_string())?;

        let begun = stage.path().join("archive.tar");
        tar(&begun, &layout)?;
        fs::rename(begun, archive).context("cannot keep the image")
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

/// The folder of a layout whose files are named after their content.
struct Blobs(PathBuf);

impl Blobs {
    /// Moves a file into the folder, and returns its descriptor.
    fn keep(&self, file: &Path, kind: &str) -> Result<Value> {
        let hash = hash(file)?;
        let size = fs::metadata(file)?.len();
        fs::rename(file, self.0.join(&hash))?;
        Ok(json!({
            "mediaType": media_type(kind),
            "digest": format!("sha256:{hash}"),
            "size": size,
        }))
    }

    /// Writes a file into the folder, and returns its descriptor.
    fn write(&self, stage: &Path, content: &Value, kind: &str) -> Result<Value> {
        let file = stage.join("blob");
        fs::write(&file, content.to_string())?;
        self.keep(&file, kind)
    }
}

/// A folder for unfinished files, on the file system of the result.
pub(crate) fn stage(archive: &Path) -> Result<TempDir> {
    let directory = archive.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    tempfile::tempdir_in(directory)
        .with_context(|| format!("cannot make a folder in {}", directory.display()))
}

/// Makes an archive of a folder: sorted, with a fixed time, owned by root, and independent of this
/// user's umask.
fn tar(file: &Path, directory: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--sort=name", "--mtime=@0"]);
    tar.args(["--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=go=u-w", "--file"]).arg(file);
    quiet(tar.arg("--directory").arg(directory).arg("."))
}

/// A file's SHA-256.
fn hash(file: &Path) -> Result<String> {
    let mut sum = Command::new("sha256sum");
    let output = sum.stdin(File::open(file)?).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hash = text.split_whitespace().next().unwrap_or_default();
    ensure!(hash.len() == 64, "sha256sum printed no hash");
    Ok(hash.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        time::{Duration, SystemTime},
    };

    use super::*;

    /// A program with the age and the mode that some user has given it.
    fn program(file: &Path, mode: u32, age: u64) -> Result<()> {
        fs::write(file, "any program")?;
        fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
        let time = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(file)?.set_modified(time)?;
        Ok(())
    }

    fn unpack(archive: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(archive);
        quiet(tar.arg("--directory").arg(to))
    }

    /// A layout whose blobs are read through their descriptors.
    struct Layout(PathBuf);

    impl Layout {
        fn json(&self, file: &str) -> Result<Value> {
            Ok(serde_json::from_slice(&fs::read(self.0.join(file))?)?)
        }

        /// The blob of a descriptor. Checks that the two match.
        fn blob(&self, descriptor: &Value, kind: &str) -> Result<PathBuf> {
            assert_eq!(descriptor["mediaType"], media_type(kind));
            let digest = descriptor["digest"].as_str().context("a digest")?;
            let name = digest.strip_prefix("sha256:").context("a SHA-256")?;
            let blob = Path::new("blobs/sha256").join(name);
            let file = self.0.join(&blob);
            assert_eq!(hash(&file)?, name);
            assert_eq!(descriptor["size"], fs::metadata(&file)?.len());
            Ok(blob)
        }

        fn json_blob(&self, descriptor: &Value, kind: &str) -> Result<Value> {
            let blob = self.blob(descriptor, kind)?;
            self.json(blob.to_str().context("its name is text")?)
        }
    }

    #[test]
    fn an_image_is_a_layout_of_the_oci_with_tracer_alone() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, archive) = (folder.path().join("static"), folder.path().join("out.tar"));
        program(&file, 0o700, 0)?;
        assert_eq!(
            tracer(&file, &archive)?,
            concat!("localhost/tracer:", env!("CARGO_PKG_VERSION"))
        );
        let layout = Layout(folder.path().join("layout"));
        unpack(&archive, &layout.0)?;

        assert_eq!(layout.json("oci-layout")?["imageLayoutVersion"], "1.0.0");
        let index = layout.json("index.json")?;
        let [found] = &index["manifests"].as_array().context("manifests")?[..] else {
            panic!("one manifest: {index}");
        };
        let annotations = &found["annotations"];
        assert_eq!(
            annotations["org.opencontainers.image.ref.name"],
            env!("CARGO_PKG_VERSION")
        );
        let manifest = layout.json_blob(found, MANIFEST)?;
        let config = layout.json_blob(&manifest["config"], CONFIG)?;
        let [layer] = &manifest["layers"].as_array().context("layers")?[..] else {
            panic!("one layer: {manifest}");
        };
        assert_eq!(config["rootfs"]["diff_ids"], json!([layer["digest"]]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/tracer"]));
        assert_eq!(
            config["config"]["Labels"]["org.opencontainers.image.version"],
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(config["os"], "linux");
        // A blob without a reference would only make the archive larger.
        assert_eq!(fs::read_dir(layout.0.join("blobs/sha256"))?.count(), 3);

        let mut tar = Command::new("tar");
        tar.args(["--list", "--verbose", "--numeric-owner", "--utc"]);
        let layer = layout.0.join(layout.blob(layer, LAYER)?);
        let listed = crate::command::output(tar.arg("--file").arg(layer))?;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let listed: Vec<String> = listed.lines().map(words).collect();
        assert_eq!(
            listed,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 ./",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 ./bin/",
                "-rwxr-xr-x 0/0 11 1970-01-01 00:00 ./bin/tracer",
            ]
        );
        Ok(())
    }

    #[test]
    fn the_same_program_makes_the_same_image() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let made = |name: &str, mode, age| {
            let file = folder.path().join(name);
            let archive = file.with_extension("tar");
            program(&file, mode, age)?;
            tracer(&file, &archive)?;
            anyhow::Ok(fs::read(archive)?)
        };
        let first = made("first", 0o755, 0)?;
        assert!(first == made("second", 0o775, 9999)?, "the archives differ");
        Ok(())
    }
}
