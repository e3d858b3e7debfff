//! Which of a cluster's endpoints takes a request: `lb_policy`, or the newer `load_balancing_policy`.

use xds_api::envoy::{
    config::{
        cluster::v3::{self as pb, cluster::LbPolicy as PbPolicy},
        core::v3 as core,
    },
    extensions::load_balancing_policies as policies,
};

use super::super::{
    at::At,
    extension::{Extension, Kind},
    rejection::Rejection,
};
use crate::cluster::{LbConfig, LbPolicy};

/// Envoy's defaults.
const CHOICES: u32 = 2;
const ACTIVE_REQUEST_BIAS: f64 = 1.0;
const PANIC_THRESHOLD: f64 = 50.0;
const RING_MIN: u64 = 1024;
const RING_MAX: u64 = 8 * 1024 * 1024;
const MAGLEV_TABLE: u64 = 65_537;

pub(super) struct Balancing {
    pub(super) policy: LbPolicy,
    pub(super) config: LbConfig,
}

pub(super) fn parse(pb: &pb::Cluster, at: &At) -> Result<Balancing, Rejection> {
    let mut config = common(pb.common_lb_config.as_deref(), &at.field("common_lb_config"))?;
    let policy = match pb.load_balancing_policy.as_deref() {
        Some(list) => {
            let chosen = choose(list, &at.field("load_balancing_policy"))?;
            chosen.apply(&mut config);
            chosen.policy
        }
        None => deprecated(pb, at)?,
    };
    Ok(Balancing { policy, config })
}

fn common(pb: Option<&pb::cluster::CommonLbConfig>, at: &At) -> Result<LbConfig, Rejection> {
    use pb::cluster::common_lb_config::LocalityConfigSpecifier as L;
    let mut config = LbConfig {
        healthy_panic_threshold: PANIC_THRESHOLD,
        fail_traffic_on_panic: false,
        locality_weighted: false,
        close_connections_on_host_set_change: false,
        use_hostname_for_hashing: false,
        ignore_new_hosts_until_first_hc: false,
    };
    let Some(pb) = pb else { return Ok(config) };
    if let Some(percent) = &pb.healthy_panic_threshold {
        config.healthy_panic_threshold = percent.value;
    }
    config.ignore_new_hosts_until_first_hc = pb.ignore_new_hosts_until_first_hc;
    config.close_connections_on_host_set_change = pb.close_connections_on_host_set_change;
    if let Some(hashing) = &pb.consistent_hashing_lb_config {
        config.use_hostname_for_hashing = hashing.use_hostname_for_hashing;
        at.not_honoured(
            "consistent_hashing_lb_config.hash_balance_factor",
            hashing.hash_balance_factor.is_some(),
        );
    }
    match &pb.locality_config_specifier {
        None => {}
        Some(L::LocalityWeightedLbConfig(_)) => config.locality_weighted = true,
        Some(L::ZoneAwareLbConfig(zone)) => {
            config.fail_traffic_on_panic = zone.fail_traffic_on_panic;
        }
    }
    at.not_honoured("override_host_status", pb.override_host_status.is_some());
    Ok(config)
}

fn deprecated(pb: &pb::Cluster, at: &At) -> Result<LbPolicy, Rejection> {
    use pb::cluster::LbConfig as C;
    Ok(match at.enumeration("lb_policy", pb.lb_policy)? {
        PbPolicy::RoundRobin => {
            if let Some(C::RoundRobinLbConfig(config)) = &pb.lb_config {
                at.not_honoured(
                    "round_robin_lb_config.slow_start_config",
                    config.slow_start_config.is_some(),
                );
            }
            LbPolicy::RoundRobin
        }
        PbPolicy::Random => LbPolicy::Random,
        PbPolicy::ClusterProvided => LbPolicy::ClusterProvided,
        PbPolicy::LeastRequest => {
            let at = at.field("least_request_lb_config");
            match &pb.lb_config {
                Some(C::LeastRequestLbConfig(config)) => {
                    at.not_honoured("slow_start_config", config.slow_start_config.is_some());
                    least_request(config.choice_count, config.active_request_bias.as_deref(), &at)?
                }
                _ => least_request(None, None, &at)?,
            }
        }
        PbPolicy::RingHash => {
            use pb::cluster::ring_hash_lb_config::HashFunction as H;
            let at = at.field("ring_hash_lb_config");
            match &pb.lb_config {
                Some(C::RingHashLbConfig(config)) => {
                    let murmur = at.enumeration::<H>("hash_function", config.hash_function)? == H::MurmurHash2;
                    ring_hash(config.minimum_ring_size, config.maximum_ring_size, murmur, &at)?
                }
                _ => ring_hash(None, None, false, &at)?,
            }
        }
        PbPolicy::Maglev => {
            let at = at.field("maglev_lb_config");
            match &pb.lb_config {
                Some(C::MaglevLbConfig(config)) => maglev(config.table_size, &at)?,
                _ => maglev(None, &at)?,
            }
        }
        PbPolicy::LoadBalancingPolicyConfig => {
            return Err(at
                .field("load_balancing_policy")
                .reject("is required where lb_policy is LOAD_BALANCING_POLICY_CONFIG"));
        }
    })
}

fn least_request(choices: Option<u32>, bias: Option<&core::RuntimeDouble>, at: &At) -> Result<LbPolicy, Rejection> {
    Ok(LbPolicy::LeastRequest {
        choices: choices.unwrap_or(CHOICES),
        active_request_bias: at
            .within(
                "active_request_bias.default_value",
                bias.map(|b| b.default_value),
                0.0,
                f64::MAX,
            )?
            .unwrap_or(ACTIVE_REQUEST_BIAS),
    })
}

fn ring_hash(minimum: Option<u64>, maximum: Option<u64>, murmur: bool, at: &At) -> Result<LbPolicy, Rejection> {
    let minimum_size = minimum.unwrap_or(RING_MIN);
    let maximum_size = maximum.unwrap_or(RING_MAX);
    if minimum_size > maximum_size {
        return Err(at.field("minimum_ring_size").reject(format_args!(
            "{minimum_size} is more than maximum_ring_size, {maximum_size}"
        )));
    }
    Ok(LbPolicy::RingHash {
        minimum_size,
        maximum_size,
        murmur,
    })
}

fn maglev(table_size: Option<u64>, at: &At) -> Result<LbPolicy, Rejection> {
    let table_size = table_size.unwrap_or(MAGLEV_TABLE);
    let is_prime = table_size >= 2
        && (2..)
            .take_while(|d| d * d <= table_size)
            .all(|d| !table_size.is_multiple_of(d));
    if !is_prime {
        return Err(at
            .field("table_size")
            .reject(format_args!("{table_size} is no prime; 65537 is the default")));
    }
    Ok(LbPolicy::Maglev { table_size })
}

/// A policy of the newer kind, with what it says about localities.
struct Chosen {
    policy: LbPolicy,
    locality_weighted: bool,
    fail_traffic_on_panic: bool,
    use_hostname_for_hashing: bool,
}

impl Chosen {
    fn plain(policy: LbPolicy) -> Self {
        Self {
            policy,
            locality_weighted: false,
            fail_traffic_on_panic: false,
            use_hostname_for_hashing: false,
        }
    }

    fn with_locality(policy: LbPolicy, locality: Option<&policies::common::v3::LocalityLbConfig>) -> Self {
        use policies::common::v3::locality_lb_config::LocalityConfigSpecifier as L;
        let mut chosen = Self::plain(policy);
        match locality.and_then(|l| l.locality_config_specifier.as_ref()) {
            None => {}
            Some(L::LocalityWeightedLbConfig(_)) => chosen.locality_weighted = true,
            Some(L::ZoneAwareLbConfig(zone)) => chosen.fail_traffic_on_panic = zone.fail_traffic_on_panic,
        }
        chosen
    }

    fn apply(&self, config: &mut LbConfig) {
        config.locality_weighted |= self.locality_weighted;
        config.fail_traffic_on_panic |= self.fail_traffic_on_panic;
        config.use_hostname_for_hashing |= self.use_hostname_for_hashing;
    }
}

/// The first policy of the list that is known, as Envoy chooses.
fn choose(list: &pb::LoadBalancingPolicy, at: &At) -> Result<Chosen, Rejection> {
    let mut unknown = Vec::new();
    for (i, policy) in list.policies.iter().enumerate() {
        let at = at.item("policies", i);
        let at = at.field("typed_extension_config.typed_config");
        let any = policy
            .typed_extension_config
            .as_deref()
            .and_then(|c| c.typed_config.as_ref());
        let extension = Extension::open(at.required("", any)?, &at)?;
        match POLICIES.iter().find(|kind| kind.type_name == extension.type_name) {
            Some(kind) => return (kind.parse)(&extension, &at),
            None => unknown.push(extension.type_name.into_owned()),
        }
    }
    Err(at.field("policies").reject(format_args!(
        "the load balancing policy {} is not known to Pillion",
        unknown.join(", ")
    )))
}

const POLICIES: &[Kind<Chosen>] = &[
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        parse: |extension, at| {
            let pb: policies::round_robin::v3::RoundRobin = extension.message(at)?;
            at.not_honoured("slow_start_config", pb.slow_start_config.is_some());
            Ok(Chosen::with_locality(
                LbPolicy::RoundRobin,
                pb.locality_lb_config.as_ref(),
            ))
        },
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        parse: |extension, at| {
            let pb: policies::least_request::v3::LeastRequest = extension.message(at)?;
            at.not_honoured("slow_start_config", pb.slow_start_config.is_some());
            at.not_honoured(
                "selection_method",
                pb.selection_method != 0 || pb.enable_full_scan == Some(true),
            );
            let policy = least_request(pb.choice_count, pb.active_request_bias.as_deref(), at)?;
            Ok(Chosen::with_locality(policy, pb.locality_lb_config.as_ref()))
        },
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.random.v3.Random",
        parse: |extension, at| {
            let pb: policies::random::v3::Random = extension.message(at)?;
            Ok(Chosen::with_locality(LbPolicy::Random, pb.locality_lb_config.as_ref()))
        },
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        parse: |extension, at| {
            use policies::ring_hash::v3::ring_hash::HashFunction as H;
            let pb: policies::ring_hash::v3::RingHash = extension.message(at)?;
            let murmur = at.enumeration::<H>("hash_function", pb.hash_function)? == H::MurmurHash2;
            let hashing = pb.consistent_hashing_lb_config.as_deref();
            at.not_honoured(
                "hash_balance_factor",
                pb.hash_balance_factor.is_some() || hashing.is_some_and(|h| h.hash_balance_factor.is_some()),
            );
            at.not_honoured(
                "consistent_hashing_lb_config.hash_policy",
                hashing.is_some_and(|h| !h.hash_policy.is_empty()),
            );
            Ok(Chosen {
                locality_weighted: pb.locality_weighted_lb_config.is_some(),
                use_hostname_for_hashing: pb.use_hostname_for_hashing
                    || hashing.is_some_and(|h| h.use_hostname_for_hashing),
                ..Chosen::plain(ring_hash(pb.minimum_ring_size, pb.maximum_ring_size, murmur, at)?)
            })
        },
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
        parse: |extension, at| {
            let pb: policies::maglev::v3::Maglev = extension.message(at)?;
            let hashing = pb.consistent_hashing_lb_config.as_deref();
            at.not_honoured(
                "consistent_hashing_lb_config.hash_balance_factor",
                hashing.is_some_and(|h| h.hash_balance_factor.is_some()),
            );
            at.not_honoured(
                "consistent_hashing_lb_config.hash_policy",
                hashing.is_some_and(|h| !h.hash_policy.is_empty()),
            );
            Ok(Chosen {
                locality_weighted: pb.locality_weighted_lb_config.is_some(),
                use_hostname_for_hashing: hashing.is_some_and(|h| h.use_hostname_for_hashing),
                ..Chosen::plain(maglev(pb.table_size, at)?)
            })
        },
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided",
        parse: |_, _| Ok(Chosen::plain(LbPolicy::ClusterProvided)),
    },
    Kind {
        type_name: "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality",
        parse: |extension, at| {
            let pb: policies::wrr_locality::v3::WrrLocality = extension.message(at)?;
            let inner = at.required("endpoint_picking_policy", pb.endpoint_picking_policy.as_deref())?;
            let mut chosen = choose(inner, &at.field("endpoint_picking_policy"))?;
            chosen.locality_weighted = true;
            Ok(chosen)
        },
    },
];
