//! What all formats have.

use std::{fs, io};

use pcap_file::pcapng::{
    Block, PcapNgReader, blocks::interface_description::InterfaceDescriptionOption,
};
use tracer_core::journal::View;

use super::{html::Html, output::Output, pcapng::Pcapng, pcapng::Stream};
use crate::view::{
    Json,
    fixtures::{Case, all, started, summary},
};

/// The kernel of the fixtures' nodes.
const KERNEL: &str = "Linux 6.18.5 (x86_64)";

fn show(case: &Case, view: &mut impl View) -> io::Result<()> {
    let scene = &case.scene;
    view.started(scene, &started(scene))?;
    for (journey, verdict, parts) in &case.journeys {
        view.journey(scene, journey, verdict, parts)?;
    }
    view.summary(scene, &summary(scene, &case.journeys), None)
}

/// A case whose second node has an agent that does not report its kernel.
fn case() -> Case {
    let mut case = all().swap_remove(0);
    case.scene.nodes[1].kernel = None;
    case
}

#[test]
fn a_page_and_lines_name_the_kernels() {
    let case = case();
    let mut page = Vec::new();
    show(&case, &mut Html::new(&mut page)).expect("memory");
    let page = String::from_utf8(page).expect("text");
    let nodes = format!("\"nodes\":[\"node-a  {KERNEL}\",\"node-b\"]");
    assert!(page.contains(&nodes), "{nodes} in {page}");

    let mut lines = Vec::new();
    show(&case, &mut Json::new(&mut lines)).expect("memory");
    let line = lines.split(|byte| *byte == b'\n').next().expect("a line");
    let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
    let kernel = serde_json::json!({"release": "6.18.5", "architecture": "x86_64"});
    assert_eq!(line["nodes"][0]["kernel"], kernel);
    assert_eq!(line["nodes"][1]["node"], "node-b");
    assert!(line["nodes"][1]["kernel"].is_null(), "{line}");
}

#[test]
fn each_interface_of_a_capture_names_its_kernel() {
    let case = case();
    let mut live = Vec::new();
    show(&case, &mut Stream::new(&mut live)).expect("memory");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.pcapng");
    let mut output = Output::file_at(&path).expect("a file");
    show(&case, &mut Pcapng::new(&mut output, false)).expect("a file");
    output.publish().expect("a file");
    for capture in [live, fs::read(&path).expect("a file")] {
        let mut reader = PcapNgReader::new(&capture[..]).expect("a capture");
        let mut interfaces = [0, 0];
        while let Some(block) = reader.next_block() {
            let Block::InterfaceDescription(interface) = block.expect("a block") else {
                continue;
            };
            let (mut name, mut kernel) = (None, None);
            for option in interface.options {
                match option {
                    InterfaceDescriptionOption::IfName(it) => name = Some(it.into_owned()),
                    InterfaceDescriptionOption::IfOs(it) => kernel = Some(it.into_owned()),
                    _ => {}
                }
            }
            let is_second = name.expect("a name").starts_with("node-b/");
            let expected = (!is_second).then_some(KERNEL);
            assert_eq!(kernel.as_deref(), expected);
            interfaces[usize::from(is_second)] += 1;
        }
        assert!(interfaces.iter().all(|count| *count > 0), "{interfaces:?}");
    }
}
