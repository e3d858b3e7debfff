//! Distinguished names as RFC 2253 text, in the dialect of OpenSSL's XN_FLAG_RFC2253, which Envoy prints.

use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// `CN=web,OU=mesh,O=Example`: last RDN first, no spaces; `+` inside a multi-valued RDN, which OpenSSL turns round too.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let reversed = |mut parts: Vec<String>, separator: &str| {
        parts.reverse();
        parts.join(separator)
    };
    let relative_names = name
        .iter_rdn()
        .map(|relative| reversed(relative.iter().map(attribute).collect(), "+"));
    reversed(relative_names.collect(), ",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let mut text = String::new();
    write_attribute(&mut text, attribute);
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    match SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, short)) => {
            text.push_str(short);
            text.push('=');
            write_value(text, attribute);
        }
        None => {
            // RFC 2253 section 2.4: an attribute without a name has its value as hex of the BER encoding.
            text.push_str(&oid);
            text.push_str("=#");
            let value = attribute.attr_value();
            let length = value.data.len();
            if length < usize::from(SHORT_FORM_LENGTHS) {
                text.push_str(&upper_hex(&[value.tag().0 as u8, length as u8]));
            }
            text.push_str(&upper_hex(value.data));
        }
    }
}

/// DER lengths below 128 are one byte (X.690 section 8.1.3.4).
const SHORT_FORM_LENGTHS: u8 = 0x80;

fn write_value(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let value = attribute.attr_value();
    let decoded = match value.tag() {
        Tag::BmpString => utf16(value.data),
        _ => String::from_utf8_lossy(value.data).into_owned(),
    };
    let last = decoded.chars().count().saturating_sub(1);
    for (index, c) in decoded.chars().enumerate() {
        let edge_space = c == ' ' && (index == 0 || index == last);
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if edge_space => text.push_str("\\ "),
            c if c.is_ascii_control() || !c.is_ascii() => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    text.push('\\');
                    text.push_str(&upper_hex(&[byte]));
                }
            }
            c => text.push(c),
        }
    }
}

fn utf16(data: &[u8]) -> String {
    let units = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn upper_hex(bytes: &[u8]) -> String {
    super::hex(bytes).to_ascii_uppercase()
}

/// OpenSSL's short names of the attributes that occur in certificates.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];
