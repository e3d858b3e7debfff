//! `JwtAuthentication`.

use std::sync::Arc;

use xds_api::envoy::extensions::filters::http::jwt_authn::v3 as pb;

mod provider;

use super::{at::At, extension::Extension, rejection::Rejection, route};
use crate::{
    http::filter::jwt_authn::{Audiences, JwtAuthn, PerRouteJwt, Provider, Requirement, Rule},
    stats::Prefix,
};

/// `stat_prefix`: the connection manager's.
pub(super) fn parse(extension: &Extension, stat_prefix: &str, at: &At) -> Result<JwtAuthn, Rejection> {
    let pb = extension.decode(xds_api::decode_jwt_authentication, at)?;
    at.unsupported("filter_state_rules", pb.filter_state_rules.is_some())?;
    let names = Providers(pb.providers.keys().map(String::as_str).collect());
    let mut providers = Vec::with_capacity(pb.providers.len());
    for (name, provider) in &pb.providers {
        providers.push(Arc::new(provider::parse(provider, &at.entry("providers", name))?));
    }
    let mut requirements: Vec<(Box<str>, _)> = Vec::with_capacity(pb.requirement_map.len());
    for (name, requirement) in &pb.requirement_map {
        let requirement = names.requirement(requirement, &at.entry("requirement_map", name))?;
        requirements.push((name.as_str().into(), Arc::new(requirement)));
    }
    let mut rules = Vec::with_capacity(pb.rules.len());
    for (i, rule) in pb.rules.iter().enumerate() {
        rules.push(self::rule(rule, &names, &requirements, &at.item("rules", i))?);
    }
    let prefix = format!("{stat_prefix}.jwt_authn.{}", pb.stat_prefix);
    Ok(JwtAuthn {
        providers: providers.into(),
        rules: rules.into(),
        requirements: requirements.into(),
        bypass_cors_preflight: pb.bypass_cors_preflight,
        strip_failure_response: pb.strip_failure_response,
        stats: at.stats(Prefix::new("http.", prefix, "")),
    })
}

pub(super) fn per_route(extension: &Extension, at: &At) -> Result<PerRouteJwt, Rejection> {
    use pb::per_route_config::RequirementSpecifier as S;
    let pb: pb::PerRouteConfig = extension.message(at)?;
    match pb.requirement_specifier {
        Some(S::Disabled(true)) => Ok(PerRouteJwt::Disabled),
        Some(S::RequirementName(name)) => Ok(PerRouteJwt::Requirement(name.into())),
        Some(S::Disabled(false)) | None => Err(at.reject("says nothing: set disabled: true, or a requirement_name")),
    }
}

fn rule(
    pb: &pb::RequirementRule,
    providers: &Providers<'_>,
    requirements: &[(Box<str>, Arc<Requirement>)],
    at: &At,
) -> Result<Rule, Rejection> {
    use pb::requirement_rule::RequirementType as R;
    let matches = at.required("match", pb.r#match.as_deref())?;
    Ok(Rule {
        matches: route::matcher::parse(matches, &at.field("match"))?,
        requirement: match &pb.requirement_type {
            None => None,
            Some(R::Requires(requirement)) => {
                Some(Arc::new(providers.requirement(requirement, &at.field("requires"))?))
            }
            Some(R::RequirementName(name)) => match requirements.iter().find(|(known, _)| **known == **name) {
                Some((_, requirement)) => Some(requirement.clone()),
                None => {
                    return Err(at
                        .field("requirement_name")
                        .reject(format_args!("{name:?} does not stand in requirement_map")));
                }
            },
        },
    })
}

/// The providers' names by index, for requirements that name them.
struct Providers<'p>(Vec<&'p str>);

impl Providers<'_> {
    fn all(&self) -> Box<[usize]> {
        (0..self.0.len()).collect()
    }

    fn index(&self, name: &str, at: &At) -> Result<usize, Rejection> {
        let index = self.0.iter().position(|known| *known == name);
        index.ok_or_else(|| at.reject(format_args!("{name:?} is none of the providers")))
    }

    fn requirement(&self, pb: &pb::JwtRequirement, at: &At) -> Result<Requirement, Rejection> {
        use pb::jwt_requirement::RequiresType as R;
        Ok(match &pb.requires_type {
            None => Requirement::None,
            Some(R::ProviderName(name)) => Requirement::Provider {
                provider: self.index(name, &at.field("provider_name"))?,
                audiences: None,
            },
            Some(R::ProviderAndAudiences(both)) => {
                let at = at.field("provider_and_audiences");
                Requirement::Provider {
                    provider: self.index(&both.provider_name, &at.field("provider_name"))?,
                    audiences: (!both.audiences.is_empty()).then(|| audiences(&both.audiences)),
                }
            }
            Some(R::RequiresAny(any)) => self.any(any, &at.field("requires_any"))?,
            Some(R::RequiresAll(all)) => {
                let at = at.field("requires_all");
                let each = all.requirements.iter().enumerate();
                let each = each.map(|(i, one)| self.requirement(one, &at.item("requirements", i)));
                Requirement::All(each.collect::<Result<_, _>>()?)
            }
            // Outside of requires_any no provider is named: all are looked at.
            Some(R::AllowMissing(())) => Requirement::AllowMissing(self.all()),
            Some(R::AllowMissingOrFailed(())) => Requirement::AllowMissingOrFailed(self.all()),
            Some(R::ExtractOnlyWithoutValidation(_)) => {
                return Err(at
                    .field("extract_only_without_validation")
                    .reject("is not supported by Pillion; remove it"));
            }
        })
    }

    /// What lets tokens be missing comes last, and looks where the others look.
    fn any(&self, pb: &pb::JwtRequirementOrList, at: &At) -> Result<Requirement, Rejection> {
        use pb::jwt_requirement::RequiresType as R;
        let mut several = Vec::with_capacity(pb.requirements.len());
        let (mut named, mut missing, mut failed) = (Vec::new(), false, false);
        for (i, one) in pb.requirements.iter().enumerate() {
            match &one.requires_type {
                Some(R::AllowMissing(())) => missing = true,
                Some(R::AllowMissingOrFailed(())) => failed = true,
                _ => {
                    let one = self.requirement(one, &at.item("requirements", i))?;
                    if let Requirement::Provider { provider, .. } = &one {
                        named.push(*provider);
                    }
                    several.push(one);
                }
            }
        }
        match (failed, missing) {
            (true, _) => several.push(Requirement::AllowMissingOrFailed(named.into())),
            (false, true) => several.push(Requirement::AllowMissing(named.into())),
            (false, false) => {}
        }
        Ok(Requirement::Any(several.into()))
    }
}

fn audiences(given: &[String]) -> Audiences {
    Audiences(given.iter().map(|one| Audiences::normal(one).into()).collect())
}
