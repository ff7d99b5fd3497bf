//! Opus packets in a row of bytes, each behind its length as a big-endian u16: how speech is kept in files.

use bytes::Bytes;

/// Packets as one row of bytes.
pub fn pack(packets: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(packets.iter().map(|packet| packet.len() + 2).sum());
    for packet in packets {
        out.extend_from_slice(&u16::try_from(packet.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(packet);
    }
    out
}

/// The packets of a row; none where it is not whole, or there are none.
pub fn unpack(bytes: &[u8]) -> Option<Vec<Bytes>> {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while let [high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let packet = more.get(..length)?;
        packets.push(Bytes::copy_from_slice(packet));
        rest = &more[length..];
    }
    (rest.is_empty() && !packets.is_empty()).then_some(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_reads_back_and_a_torn_row_does_not() {
        let packets = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        let packed = pack(&packets);
        assert_eq!(unpack(&packed), Some(packets));
        assert_eq!(unpack(&packed[..packed.len() - 1]), None);
        assert_eq!(unpack(&[]), None);
    }
}
