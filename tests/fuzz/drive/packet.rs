//! What holds for any bytes that reach the MQTT decoder: it ends, it stays within the bytes, and what it made of a
//! PUBLISH says the same when it is written and read again.

use bytes::{Bytes, BytesMut};
use voxgate::door::mqtt::codec::{self, Packet, Publish, PublishHead, Version};

/// The first byte chooses the version and the largest packet; the rest is what came.
pub fn drive(data: &[u8]) {
    let Some((&how, mut rest)) = data.split_first() else { return };
    let version = if how & 1 == 0 { Version::V4 } else { Version::V5 };
    let max = if how & 2 == 0 { 1 << 20 } else { 64 };
    while let Ok(Some(frame)) = codec::frame(rest, max) {
        let whole = frame.header + frame.body;
        assert!(frame.header >= 2 && whole <= max, "{frame:?}");
        if rest.len() < whole {
            return;
        }
        let body = Bytes::copy_from_slice(&rest[frame.header..whole]);
        rest = &rest[whole..];
        if let Ok(connect) = codec::decode_connect(frame.first, body.clone()) {
            assert!(connect.client_id.as_str().len() <= whole);
        }
        if let Ok(Packet::Publish(publish)) = codec::decode(version, frame.first, body) {
            again(version, &publish);
        }
    }
}

fn again(version: Version, publish: &Publish) {
    let mut expected = publish.clone();
    // an alias belongs to one connection and direction
    if let Some(props) = &mut expected.props {
        props.alias = None;
    }
    let props = expected.props.as_deref();
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        id: publish.id,
        props,
        expiry: props.and_then(|props| props.expiry),
        ..PublishHead::default()
    };
    let mut out = BytesMut::new();
    let written = codec::publish(&mut out, version, head, publish.topic.as_str(), &publish.payload);
    assert_eq!(written, out.len());
    let frame = codec::frame(&out, usize::MAX).expect("a whole header").expect("a whole header");
    assert_eq!(frame.header + frame.body, out.len());
    let read = codec::decode(version, frame.first, out.split_off(frame.header).freeze());
    let Ok(Packet::Publish(mut read)) = read else { panic!("{publish:?} became {read:?}") };
    // properties that say nothing are left out
    for publish in [&mut expected, &mut read] {
        if publish.props.as_deref() == Some(&codec::PublishProps::default()) {
            publish.props = None;
        }
    }
    assert_eq!(read, expected);
}
