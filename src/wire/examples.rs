//! Plays `schemas/examples`: against the schemas, against the codec, against each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails shall say where")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::native::client;
use super::{decode, encode, fuzz, native::DIALECT, some_device};
use crate::domain::{AudioPacket, Body, Codec, Downlink, ImageId, ImagePart, ImageUpload, SpokenFrame, Stream, TurnId};

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn schema(name: &str) -> (Value, jsonschema::Validator) {
    let text = std::fs::read_to_string(schemas().join(format!("{name}.schema.json"))).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    (schema, validator)
}

/// The JSON examples whose names begin with `prefix`, with the rest of the name.
fn examples(prefix: &str) -> Vec<(String, Value)> {
    let mut found: Vec<_> = std::fs::read_dir(schemas().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some((name.strip_prefix(prefix)?.strip_suffix(".json")?.to_owned(), name)))
        .map(|(kind, name)| {
            let text = std::fs::read_to_string(schemas().join("examples").join(name)).unwrap();
            (kind, serde_json::from_str(&text).unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn dump(comment: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {comment}\n");
    for line in bytes.chunks(32) {
        let pairs: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(text, "{}", pairs.join(" "));
    }
    text
}

fn undump(text: &str) -> Bytes {
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_whitespace).collect();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(pair).collect::<Vec<_>>().into()
}

/// The bytes of a hex example, which have to be `want`; written anew with UPDATE_DOCS.
fn committed(name: &str, comment: &str, want: &[u8]) -> Bytes {
    let path = schemas().join("examples").join(format!("{name}.hex"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, dump(comment, want)).unwrap();
    }
    let bytes = undump(&std::fs::read_to_string(&path).expect(name));
    assert_eq!(bytes, want, "{name}.hex is stale: UPDATE_DOCS=1 cargo test wire::examples");
    bytes
}

fn control(payload: &Bytes) -> crate::domain::Control {
    match decode(DIALECT, Stream::Control, payload, &some_device()) {
        Ok(Body::Control(control)) => *control,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_devices_say_fits_its_schema_and_is_the_same_in_protobuf() {
    let (schema, validator) = schema("control.up");
    let examples = examples("up.");
    let names: BTreeSet<_> = examples.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(names, schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect());
    for (kind, example) in &examples {
        assert!(validator.is_valid(example), "{kind}");
        let said = control(&example.to_string().into());
        assert_eq!(said.kind.name(), kind);
        let mut proto = said.clone();
        proto.json = false;
        let comment = format!("voxgate.v1.Envelope: what up.{kind}.json says");
        let bytes = committed(&format!("up.{kind}.pb"), &comment, &client::encode_control(&proto));
        assert_eq!(control(&bytes), proto, "{kind}");
    }
}

#[test]
fn what_devices_are_told_fits_its_schema_and_is_the_same_in_protobuf() {
    let (schema, validator) = schema("control.down");
    let examples = examples("down.");
    let names: BTreeSet<_> = examples.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(names, schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect());
    for (kind, example) in &examples {
        assert!(validator.is_valid(example), "{kind}");
        let told = client::decode_downlink(Stream::Control, example.to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&encode(DIALECT, &told, &some_device()).unwrap()).unwrap();
        assert_eq!(&written, example, "{kind}: the gateway writes it otherwise");
        let mut proto = told.clone();
        let Downlink::Control { json, message, .. } = &mut proto else { panic!("{kind}") };
        *json = false;
        assert_eq!(message.name(), kind);
        let comment = format!("voxgate.v1.Envelope: what down.{kind}.json says");
        let bytes = committed(&format!("down.{kind}.pb"), &comment, &encode(DIALECT, &proto, &some_device()).unwrap());
        assert_eq!(client::decode_downlink(Stream::Control, &bytes).as_ref(), Ok(&proto), "{kind}");
    }
}

#[test]
fn telemetry_fits_its_schema_and_is_the_same_in_protobuf() {
    let (_, validator) = schema("telemetry");
    for (kind, example) in examples("telemetry.") {
        assert!(validator.is_valid(&example), "{kind}");
        let read = |payload: &Bytes| match decode(DIALECT, Stream::Telemetry, payload, &some_device()) {
            Ok(Body::Telemetry(all)) => all,
            other => panic!("{other:?}"),
        };
        let said = read(&example.to_string().into());
        let written: Value = serde_json::from_slice(&client::encode_telemetry(&said, true)).unwrap();
        assert_eq!(written, example, "the example is in the normal form");
        let comment = format!("voxgate.v1.Telemetry: what telemetry.{kind}.json says");
        let bytes = committed(&format!("telemetry.{kind}.pb"), &comment, &client::encode_telemetry(&said, false));
        assert_eq!(read(&bytes), said, "{kind}");
    }
}

#[test]
fn audio_packets_are_as_documented() {
    // an Opus packet of 20 ms silence (TOC: CELT, mono)
    let payload = Bytes::from_static(&[0xF8, 0xFF, 0xFE]);
    let packet =
        AudioPacket { codec: Codec::Opus, seq: 412, ts_ms: 24_720, last: true, speech: Some(true), listen: 1, payload };
    let comment = "an uplink audio packet: number 412, of listen_start 1, speech, the last of its utterance";
    let bytes = committed("audio.up", comment, &client::encode_audio(&packet));
    assert!(matches!(decode(DIALECT, Stream::Audio, &bytes, &some_device()), Ok(Body::Audio(p)) if p == packet));

    let frame = SpokenFrame { turn: TurnId(3), seq: 7, ts_ms: 360, last: false, packet: packet.payload.clone() };
    let spoken = Downlink::Audio(frame);
    let bytes = committed(
        "audio.down",
        "a downlink audio packet: number 7, of turn 3, at 360 ms",
        &encode(DIALECT, &spoken, &some_device()).unwrap(),
    );
    assert_eq!(client::decode_downlink(Stream::Audio, &bytes), Ok(spoken));
}

/// A PNG of one grey pixel.
const PIXEL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\xdach\x00\x00\x00\x82\x00\x81\xdaE\x08;\x00\x00\x00\x00IEND\xaeB`\x82";

#[test]
fn images_are_as_documented() {
    let file = Bytes::from_static(PIXEL);
    let bytes = committed("image.whole", "a whole image: a PNG of one grey pixel", &file);
    assert!(
        matches!(decode(DIALECT, Stream::Image, &bytes, &some_device()), Ok(Body::Image(ImageUpload::Whole(f))) if f == file)
    );

    let parts = client::cut_image(ImageId(0xA1), &file, 40).unwrap();
    assert_eq!(parts.len(), 2);
    for part in &parts {
        let ImagePart { index, parts, .. } = part;
        let comment = format!("part {index} of {parts} of image a1: the file of image.whole.hex");
        let bytes = committed(&format!("image.part{index}"), &comment, &client::encode_image_part(part));
        assert!(
            matches!(decode(DIALECT, Stream::Image, &bytes, &some_device()), Ok(Body::Image(ImageUpload::Part(p))) if &p == part)
        );
    }
}

/// `example` with each of its fields, down to the payload's, left out or replaced.
fn variants(example: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for path in ["", "/payload"] {
        let Some(fields) = example.pointer(path).and_then(Value::as_object) else { continue };
        for name in fields.keys() {
            let mut less = example.clone();
            less.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(name);
            out.push(less);
            for odd in [
                json!(null),
                json!(true),
                json!(-1),
                json!(0),
                json!(3.0),
                json!(1.5),
                json!(70_000),
                json!(5e9),
                json!(""),
                json!("odd text"),
                json!("x".repeat(65)),
                json!([]),
                json!([[1, 2]]),
                json!({}),
                json!({"control": "x"}),
            ] {
                let mut other = example.clone();
                other.pointer_mut(path).unwrap()[name.as_str()] = odd;
                out.push(other);
            }
        }
    }
    out
}

#[test]
fn what_the_schema_allows_the_gateway_understands() {
    let (_, validator) = schema("control.up");
    let (mut allowed, mut refused) = (0, 0);
    for (_, example) in examples("up.") {
        for variant in variants(&example) {
            let understood = decode(DIALECT, Stream::Control, &variant.to_string().into(), &some_device()).is_ok();
            if validator.is_valid(&variant) {
                assert!(understood, "{variant}");
                allowed += 1;
            } else if !understood {
                refused += 1;
            }
        }
    }
    assert!(allowed > 50 && refused > 200, "{allowed} and {refused}: the variants prove little");
}

#[test]
fn every_example_with_a_wrong_byte_is_read_without_harm() {
    for entry in std::fs::read_dir(schemas().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        let bytes = match path.extension().and_then(|e| e.to_str()) {
            Some("hex") => undump(std::str::from_utf8(&content).unwrap()),
            _ => content.into(),
        };
        fuzz(&bytes);
        for at in 0..bytes.len() {
            fuzz(&bytes[..at]);
            for flip in [0x01, 0x80, 0xFF] {
                let mut wrong = bytes.to_vec();
                wrong[at] ^= flip;
                fuzz(&wrong);
            }
        }
    }
}
