use std::sync::LazyLock;

use serde_json::json;

use super::*;

const ID: &[u8] = b"00000063-1234-4234-9234-123456789012";

fn sampling(random: u64) -> Sampling {
    Sampling {
        client: Fraction::ALL,
        random: Fraction {
            numerator: random,
            denominator: TEN_THOUSAND,
        },
        overall: Fraction {
            numerator: TEN_THOUSAND,
            denominator: TEN_THOUSAND,
        },
    }
}

static UNSET: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

fn decided<'a>(sampling: &'a Sampling, change: impl FnOnce(&mut Facts<'a>)) -> Decision {
    let mut facts = Facts {
        sampling,
        settings: RequestId::default(),
        request_id: Some(ID),
        has_client_trace_id: false,
        has_force_trace: false,
        runtime: &UNSET,
        random: 0,
    };
    change(&mut facts);
    decide(&facts)
}

fn reason<'a>(sampling: &'a Sampling, change: impl FnOnce(&mut Facts<'a>)) -> Reason {
    decided(sampling, change).reason
}

#[test]
fn the_ids_first_digits_are_the_random_number() {
    // 0x63 is 99: 1 % holds it, 0.99 % does not.
    assert_eq!(reason(&sampling(100), |_| {}), Reason::Sampling);
    assert_eq!(reason(&sampling(99), |_| {}), Reason::NotTraceable);
    let big = b"ffffffff-1234-4234-9234-123456789012";
    let number = 0xffff_ffff_u64 % TEN_THOUSAND;
    assert_eq!(
        reason(&sampling(number), |f| f.request_id = Some(big)),
        Reason::NotTraceable
    );
    assert_eq!(
        reason(&sampling(number + 1), |f| f.request_id = Some(big)),
        Reason::Sampling
    );
}

#[test]
fn an_id_that_is_no_number_is_not_traced_and_stays() {
    for id in [&b"zz"[..], b"1234567", b"", b"zzzzzzzz-1234-4234-9234-123456789012"] {
        assert_eq!(
            decided(&sampling(TEN_THOUSAND), |f| f.request_id = Some(id)),
            Decision::NO
        );
    }
    assert_eq!(decided(&sampling(TEN_THOUSAND), |f| f.request_id = None), Decision::NO);
    // Long enough for a number, too short for a digit.
    let decision = decided(&sampling(TEN_THOUSAND), |f| f.request_id = Some(b"00000001"));
    assert_eq!((decision.reason, decision.digit), (Reason::Sampling, None));
}

#[test]
fn what_was_decided_before_is_kept_and_told() {
    for (digit, known) in [
        (b'9', Reason::Sampling),
        (b'a', Reason::ServiceForced),
        (b'b', Reason::ClientForced),
    ] {
        let mut id = ID.to_vec();
        id[DIGIT_AT] = digit;
        let decision = decided(&sampling(0), |f| f.request_id = Some(&id));
        assert_eq!((decision.reason, decision.digit), (known, None));
        // Unless the id tells nothing.
        let unpacked = reason(&sampling(0), |f| {
            f.request_id = Some(&id);
            f.settings.pack_trace_reason = false;
        });
        assert_eq!(unpacked, Reason::NotTraceable);
    }
    assert_eq!(decided(&sampling(0), |f| f.has_force_trace = true).digit, Some(b'a'));
    assert_eq!(
        decided(&sampling(0), |f| f.has_client_trace_id = true).digit,
        Some(b'b')
    );
    assert_eq!(decided(&sampling(TEN_THOUSAND), |_| {}).digit, Some(b'9'));
    assert_eq!(decided(&sampling(0), |_| {}).digit, None);
}

#[test]
fn overall_sampling_has_the_last_word_over_what_others_decided_too() {
    let mut id = ID.to_vec();
    id[DIGIT_AT] = b'a';
    let mut none = sampling(TEN_THOUSAND);
    none.overall.numerator = 0;
    let decision = decided(&none, |f| f.request_id = Some(&id));
    assert_eq!((decision.reason, decision.digit), (Reason::NotTraceable, Some(b'4')));
    // Nothing was decided and nothing is to be told.
    assert_eq!(decided(&none, |_| {}), Decision::NO);
}

#[test]
fn the_runtime_goes_before_the_config_and_denominators_choose_who() {
    let runtime = |value: Value| Map::from_iter([("tracing.random_sampling".to_owned(), value)]);
    let with = |value: Value| {
        let runtime = runtime(value);
        let sampling = sampling(0);
        decide(&Facts {
            sampling: &sampling,
            settings: RequestId::default(),
            request_id: Some(ID),
            has_client_trace_id: false,
            has_force_trace: false,
            runtime: &runtime,
            random: 0,
        })
        .reason
    };
    // Of a hundred, 99 is the last.
    assert_eq!(with(json!(99)), Reason::NotTraceable);
    assert_eq!(with(json!(100)), Reason::Sampling);
    assert_eq!(with(json!(100.0)), Reason::Sampling);
    // No percentage: the config stands.
    assert_eq!(with(json!(99.5)), Reason::NotTraceable);
    assert_eq!(
        with(json!({"numerator": 100, "denominator": "TEN_THOUSAND"})),
        Reason::Sampling
    );
    assert_eq!(
        with(json!({"numerator": 99, "denominator": "TEN_THOUSAND"})),
        Reason::NotTraceable
    );
    // The number never reaches a million: Envoy traces all of them.
    assert_eq!(
        with(json!({"numerator": 10_000, "denominator": "MILLION"})),
        Reason::Sampling
    );
}

#[test]
fn without_the_ids_say_every_request_is_sampled() {
    let decision = decided(&sampling(0), |f| {
        f.settings.use_for_trace_sampling = false;
        f.request_id = None;
    });
    assert_eq!((decision.reason, decision.digit), (Reason::Sampling, None));
}
