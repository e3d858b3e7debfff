//! Random messages of random types, and random damage to them.

use crate::reference::{self, normal};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use std::collections::HashMap;
use xds_api::json::{ReadOptions, WriteOptions, from_wire, to_wire, write_json};

/// Deeper messages stay empty.
const DEPTH: usize = 4;
const PROTO_NAMES: WriteOptions = WriteOptions {
    proto_names: true,
    pretty: false,
    defaults: false,
};

struct Source(TestRng);

impl Source {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 8] = ["a", "\"", "\\", "\n", "é", "<", "\u{1}", "日本"];
        (0..self.below(6)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    /// Small, large and negative, with zero among them.
    fn bits(&mut self) -> u64 {
        let bits = self.0.next_u64();
        bits >> self.below(64)
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        match descriptor.full_name() {
            "google.protobuf.Any" => self.fill_any(&mut message, depth),
            "google.protobuf.Duration" => self.fill_time(&mut message, 315_576_000_000),
            "google.protobuf.Timestamp" => self.fill_time(&mut message, 253_402_300_799),
            "google.protobuf.Value" => {
                let kinds: Vec<_> = descriptor.fields().collect();
                let kind = &kinds[if depth < DEPTH { self.below(kinds.len()) } else { 2 }];
                let value = match kind.name() {
                    // NaN and infinities are no JSON numbers, and Value has no other form for them.
                    "number_value" => Value::F64(self.bits() as f64 / 8.0),
                    _ => self.value(kind, depth + 1),
                };
                message.set_field(kind, value);
            }
            _ => {
                for field in descriptor.fields() {
                    if self.below(3) == 0 && depth < DEPTH {
                        let value = self.field(&field, depth);
                        message.set_field(&field, value);
                    }
                }
            }
        }
        message
    }

    fn fill_any(&mut self, message: &mut DynamicMessage, depth: usize) {
        let messages: Vec<_> = reference::pool()
            .all_messages()
            .filter(|message| !message.is_map_entry())
            .collect();
        let of = &messages[self.below(messages.len())];
        let inner = self.message(of, depth + 1);
        message.set_field_by_name(
            "type_url",
            Value::String(format!("type.googleapis.com/{}", of.full_name())),
        );
        message.set_field_by_name("value", Value::Bytes(reference::encode(&inner).into()));
    }

    fn fill_time(&mut self, message: &mut DynamicMessage, limit: u64) {
        const NANOS: [i32; 5] = [0, 500_000_000, 120_000, 7, 999_999_999];
        message.set_field_by_name("seconds", Value::I64((self.bits() % limit) as i64));
        message.set_field_by_name("nanos", Value::I32(NANOS[self.below(NANOS.len())]));
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                unreachable!("map fields are of an entry message")
            };
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let entries = (0..self.below(3)).map(|_| (self.map_key(&key), self.value(&value, depth + 1)));
            return Value::Map(entries.collect::<HashMap<_, _>>());
        }
        if field.cardinality() == Cardinality::Repeated {
            return Value::List((0..self.below(3)).map(|_| self.value(field, depth + 1)).collect());
        }
        self.value(field, depth + 1)
    }

    fn map_key(&mut self, field: &FieldDescriptor) -> MapKey {
        match self.value(field, 0) {
            Value::String(text) => MapKey::String(text),
            Value::U32(n) => MapKey::U32(n),
            Value::U64(n) => MapKey::U64(n),
            Value::I32(n) => MapKey::I32(n),
            Value::I64(n) => MapKey::I64(n),
            Value::Bool(bool) => MapKey::Bool(bool),
            other => panic!("{other:?} is no map key"),
        }
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::Double => Value::F64(self.bits() as f64 / 8.0),
            Kind::Float => Value::F32(self.bits() as f32 / 8.0),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.bits() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.bits() as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.bits() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.bits()),
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Enum(of) => {
                let values: Vec<_> = of.values().collect();
                Value::EnumNumber(values[self.below(values.len())].number())
            }
            Kind::Message(of) => Value::Message(self.message(&of, depth)),
        }
    }
}

fn random_message(seed: [u8; 32]) -> DynamicMessage {
    let mut source = Source(TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let messages: Vec<_> = reference::pool()
        .all_messages()
        .filter(|message| !message.is_map_entry())
        .collect();
    let descriptor = &messages[source.below(messages.len())];
    source.message(descriptor, 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn both_directions_agree_with_prost_reflect(seed: [u8; 32]) {
        let message = random_message(seed);
        let descriptor = message.descriptor();
        let (name, bytes) = (descriptor.full_name(), reference::encode(&message));

        let ours = from_wire(name, &bytes, PROTO_NAMES).unwrap();
        let theirs = reference::to_json(&message).unwrap();
        prop_assert_eq!(normal(ours.clone()), normal(theirs.clone()), "{} to JSON", name);

        for json in [&ours, &theirs] {
            let (back, warnings) = to_wire(name, json, ReadOptions::default()).unwrap();
            prop_assert!(warnings.is_empty());
            let again = from_wire(name, &back, PROTO_NAMES).unwrap();
            prop_assert_eq!(&again, &ours, "{} and back", name);
        }
        let camel = from_wire(name, &bytes, WriteOptions::default()).unwrap();
        let (from_camel, _) = to_wire(name, &camel, ReadOptions::default()).unwrap();
        prop_assert_eq!(from_wire(name, &from_camel, PROTO_NAMES).unwrap(), ours, "{} by camelCase", name);
    }

    #[test]
    fn pretty_text_and_defaults_are_the_same_message(seed: [u8; 32]) {
        let message = random_message(seed);
        let descriptor = message.descriptor();
        let (name, bytes) = (descriptor.full_name(), reference::encode(&message));
        let plain = from_wire(name, &bytes, PROTO_NAMES).unwrap();

        let mut text = Vec::new();
        write_json(name, &bytes, &mut text, WriteOptions::ADMIN).unwrap();
        let pretty: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(&pretty, &plain);

        let with_defaults = from_wire(name, &bytes, WriteOptions::ADMIN_WITH_DEFAULTS).unwrap();
        let (back, _) = to_wire(name, &with_defaults, ReadOptions::default()).unwrap();
        prop_assert_eq!(from_wire(name, &back, PROTO_NAMES).unwrap(), plain);
    }

    #[test]
    fn damaged_bytes_never_panic_and_agree_on_what_is_malformed(seed: [u8; 32], at: prop::sample::Index, flip: u8, cut: bool) {
        let message = random_message(seed);
        let descriptor = message.descriptor();
        let mut bytes = reference::encode(&message);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if cut {
                bytes.truncate(at);
            }
        }
        let name = descriptor.full_name();
        let written = from_wire(name, &bytes, PROTO_NAMES);
        xds_api::inspect::findings(name, &bytes);
        // What prost-reflect decodes we print, except for groups, which no schema here has.
        let decoded = DynamicMessage::decode(descriptor.clone(), bytes.as_slice());
        let has_group = bytes.iter().any(|byte| byte & 7 == 3);
        prop_assert!(written.is_ok() || decoded.is_err() || has_group, "{name}: {written:?}");
    }
}
