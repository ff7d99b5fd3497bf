//! Telemetry, JSON or protobuf, normalised to one schema whatever the device calls its fields.

mod names;
mod normalise;
pub(super) mod proto;

pub(in crate::wire) use normalise::normalise;

use serde_json::{Map, Value};

use super::super::WireError;
use crate::domain::Telemetry;

/// Most objects in one message.
pub const MAX_BATCH: usize = 64;

/// Reads one object, or an array (or batch) of up to 64. What does not fit the schema is kept under `other`
/// within bounds; `dropped` counts the fields beyond them.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<Telemetry>, WireError> {
    let objects = match payload.first() {
        Some(b'{' | b'[') => json(payload)?,
        _ => proto::decode(payload)?,
    };
    match objects.len() {
        0 => Err(WireError::malformed("no telemetry in the message")),
        n if n > MAX_BATCH => Err(WireError::too_large("at most 64 telemetry objects a message")),
        _ => Ok(objects.into_iter().map(normalise).collect()),
    }
}

fn json(text: &[u8]) -> Result<Vec<Map<String, Value>>, WireError> {
    match serde_json::from_slice(text).map_err(|e| WireError::json("telemetry is no json", &e))? {
        Value::Object(one) => Ok(vec![one]),
        Value::Array(many) => many.into_iter().map(object).collect(),
        _ => Err(WireError::malformed("telemetry is no object")),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, WireError> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(WireError::malformed("an element of the telemetry array is no object")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(value: &Value) -> Telemetry {
        let mut all = decode(value.to_string().as_bytes()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn groups(value: &Value) -> Value {
        Value::Object(one(value).groups)
    }

    #[test]
    fn what_is_no_telemetry_is_refused() {
        for bad in ["[]", "[1]", "[{},[]]", "{", "[", "{\"a\":}", "\x01\x02\x03", "hello"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let many = Value::Array(vec![json!({"soc": 1}); 65]).to_string();
        assert_eq!(decode(many.as_bytes()).unwrap_err().kind, crate::wire::WireErrorKind::TooLarge);
        let deep = "[".repeat(100_000);
        assert!(decode(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_same_measurement_by_many_names_is_one() {
        let want = json!({"battery": {"percent": 81, "charging": true}, "network": {"rssi_dbm": -67}});
        for said in [
            json!({"battery": {"percent": 81, "charging": true}, "network": {"rssi_dbm": -67}}),
            json!({"battery_percent": 81, "charging": 1, "rssi": -67}),
            json!({"Battery": "81", "isCharging": "yes", "wifi": {"rssi": "-67"}}),
            json!({"power": {"SOC": 81.0, "charge": "on"}, "signal": {"RSSI": -67.0}}),
        ] {
            assert_eq!(groups(&said), want, "{said}");
        }
    }

    #[test]
    fn numbers_are_kept_in_their_ranges() {
        assert_eq!(groups(&json!({"soc": 130})), json!({"battery": {"percent": 100}}));
        assert_eq!(groups(&json!({"soc": -3})), json!({"battery": {"percent": 0}}));
        assert_eq!(groups(&json!({"heading": -90})), json!({"motion": {"heading_deg": 270}}));
        assert_eq!(groups(&json!({"heading": 725.5})), json!({"motion": {"heading_deg": 5.5}}));
        assert_eq!(groups(&json!({"rssi": 900})), json!({"other": {"rssi": 900}}));
        assert_eq!(groups(&json!({"soc": "full"})), json!({"other": {"soc": "full"}}));
    }

    #[test]
    fn a_place_needs_both_its_numbers() {
        assert_eq!(groups(&json!({"lat": 47.5, "lng": 19.05})), json!({"location": {"lat": 47.5, "lon": 19.05}}));
        assert_eq!(
            groups(&json!({"gps": {"latitude": 47.5, "altitude": 120}})),
            json!({"location": {"altitude_m": 120}, "other": {"location.lat": 47.5}})
        );
        assert_eq!(groups(&json!({"lat": 95, "lon": 19.05})), json!({"other": {"lat": 95, "location.lon": 19.05}}));
    }

    #[test]
    fn a_vector_comes_as_an_object_an_array_or_three_fields() {
        let want = json!({"imu": {"accelerometer_mps2": {"x": 0.1, "y": -2, "z": 9.8}}});
        for said in [
            json!({"imu": {"accel": {"x": 0.1, "y": -2, "z": 9.8}}}),
            json!({"acc": [0.1, -2, 9.8]}),
            json!({"accel_x": 0.1, "accel_y": "-2", "accelZ": 9.8}),
            json!({"sensors": {"acc_x": 0.1, "acc_y": -2, "acc_z": 9.8}}),
        ] {
            assert_eq!(groups(&said), want, "{said}");
        }
        assert_eq!(groups(&json!({"accel_x": 0.1, "acc": [1, 2]})), json!({"other": {"acc": [1, 2], "accel_x": 0.1}}));
    }

    #[test]
    fn unknown_fields_are_kept_within_bounds() {
        assert_eq!(
            groups(&json!({"firmware": "1.2", "battery": {"cycles": 12}, "values": {"dust": 3, "name": "x"}})),
            json!({"values": {"dust": 3}, "other": {"firmware": "1.2", "battery.cycles": 12, "values.name": "x"}})
        );
        let many: Map<String, Value> = (0..500).map(|n| (format!("field{n}"), json!(n))).collect();
        let kept = one(&Value::Object(many)).groups;
        assert_eq!(kept["other"].as_object().unwrap().len(), 32);
        assert_eq!(kept["dropped"], 468);
        let long = one(&json!({"blob": "x".repeat(100_000), "name".repeat(100): 1, "small": 1})).groups;
        assert_eq!(Value::Object(long), json!({"other": {"small": 1}, "dropped": 2}));
    }

    #[test]
    fn numbers_and_times_are_taken_whatever_they_are_called() {
        let told = one(&json!({"seq": 7, "timestamp": 1.7637e12, "soc": 1}));
        assert_eq!((told.seq, told.ts), (Some(7), Some(1_763_700_000_000)));
        let untold = one(&json!({"seq": 0, "ts": 0}));
        assert_eq!((untold.seq, untold.ts), (None, None));
        let odd = one(&json!({"seq": -1, "ts": "noon"}));
        assert_eq!((odd.seq, odd.ts), (None, None));
        assert_eq!(odd.groups["other"], json!({"seq": -1, "ts": "noon"}));
    }

    #[test]
    fn protobuf_says_the_same_as_json() {
        use prost::Message as _;

        use crate::wire::native::proto as pb;

        let message = pb::Telemetry {
            seq: Some(3),
            ts: Some(1_763_700_000_000),
            battery: Some(pb::Battery { percent: Some(81.0), voltage_mv: None, charging: Some(false) }),
            imu: Some(pb::Imu { gyroscope_dps: Some(pb::Vector { x: 0.5, y: 0.0, z: -1.0 }), ..pb::Imu::default() }),
            values: [("dust".to_owned(), 3.5)].into(),
            other: Some(r#"{"fw":"1.2"}"#.to_owned()),
            ..pb::Telemetry::default()
        };
        let json = json!({
            "seq": 3, "ts": 1_763_700_000_000u64, "battery": {"percent": 81, "charging": false},
            "imu": {"gyro": [0.5, 0, -1]}, "values": {"dust": 3.5}, "fw": "1.2",
        });
        assert_eq!(decode(&message.encode_to_vec()).unwrap(), vec![one(&json)]);
        let batch = pb::Telemetry { batch: vec![message.clone(), message.clone()], ..pb::Telemetry::default() };
        assert_eq!(decode(&batch.encode_to_vec()).unwrap(), vec![one(&json), one(&json)]);
        let nested = pb::Telemetry { batch: vec![batch.clone()], ..pb::Telemetry::default() };
        assert!(decode(&nested.encode_to_vec()).is_err());
        let mixed = pb::Telemetry { seq: Some(1), ..batch };
        assert!(decode(&mixed.encode_to_vec()).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((name(), inner), 0..6).prop_map(|f| Value::Object(f.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,6}",
            Just("battery".to_owned()),
            Just("imu".to_owned()),
            Just("accel_x".to_owned()),
            Just("values".to_owned()),
            Just("other".to_owned()),
            Just("lat".to_owned()),
            Just("seq".to_owned()),
            Just("dropped".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn any_object_is_normalised_within_bounds_and_only_once(
            fields in proptest::collection::vec((name(), value()), 0..12),
        ) {
            let first = one(&Value::Object(fields.into_iter().collect()));
            let text = serde_json::to_string(&first).unwrap();
            prop_assert!(text.len() < 16_384);
            prop_assert_eq!(decode(text.as_bytes()).unwrap(), vec![first]);
        }

        #[test]
        fn any_bytes_give_telemetry_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&data);
        }
    }
}
