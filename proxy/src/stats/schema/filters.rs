//! Stats of filters, under `http.<stat_prefix>.` or a prefix of the filter's own.

schema! {
    /// `….rbac.`, for HTTP and network filters; rules' own `rules_stat_prefix` and `shadow_rules_stat_prefix` go before the
    /// names, hence the two groups.
    RbacStat {
        per_thread {
            counter Allowed "allowed",
            counter Denied "denied",
        }
    }
}

schema! {
    /// `….rbac.<shadow_rules_stat_prefix>`
    RbacShadowStat {
        per_thread {
            counter ShadowAllowed "shadow_allowed",
            counter ShadowDenied "shadow_denied",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.fault.`
    FaultStat {
        shared {
            counter AbortsInjected "aborts_injected",
            gauge ActiveFaults "active_faults",
            counter DelaysInjected "delays_injected",
            counter FaultsOverflow "faults_overflow",
            counter ResponseRlInjected "response_rl_injected",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.cors.`
    CorsStat {
        shared {
            counter OriginInvalid "origin_invalid",
            counter OriginValid "origin_valid",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.ext_authz.<stat_prefix>`
    ExtAuthzStat {
        shared {
            counter Denied "denied",
            counter Disabled "disabled",
            counter Error "error",
            counter FailureModeAllowed "failure_mode_allowed",
            counter FilterStateNameCollision "filter_state_name_collision",
            counter IgnoredDynamicMetadata "ignored_dynamic_metadata",
            counter Invalid "invalid",
            counter Ok "ok",
            counter OmittedResponseHeaders "omitted_response_headers",
            counter RequestHeaderLimitsReached "request_header_limits_reached",
            counter ResponseHeaderLimitsReached "response_header_limits_reached",
            counter ShadowDenied "shadow_denied",
            counter ShadowError "shadow_error",
        }
    }
}

schema! {
    /// `cluster.<name>.grpc.`, or `cluster.<name>.grpc.<service>.<method>.`
    GrpcStat {
        per_thread {
            lazy_counter Success "success",
            lazy_counter Failure "failure",
            lazy_counter Total "total",
            lazy_counter RequestMessageCount "request_message_count",
            lazy_counter ResponseMessageCount "response_message_count",
        }
        histograms {
            lazy_histogram UpstreamRqTime "upstream_rq_time",
        }
        families {
            Status "",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.jwt_authn.`
    JwtAuthnStat {
        shared {
            counter Allowed "allowed",
            counter CorsPreflightBypassed "cors_preflight_bypassed",
            counter Denied "denied",
            counter JwksFetchFailed "jwks_fetch_failed",
            counter JwksFetchSuccess "jwks_fetch_success",
            counter JwtCacheHit "jwt_cache_hit",
            counter JwtCacheMiss "jwt_cache_miss",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.health_check.`
    HealthCheckFilterStat {
        shared {
            counter CachedResponse "cached_response",
            counter Degraded "degraded",
            counter Failed "failed",
            counter FailedClusterEmpty "failed_cluster_empty",
            counter FailedClusterNotFound "failed_cluster_not_found",
            counter FailedClusterUnhealthy "failed_cluster_unhealthy",
            counter Ok "ok",
            counter RequestTotal "request_total",
        }
    }
}

schema! {
    /// `<stat_prefix>.http_local_rate_limit.`
    LocalRateLimitStat {
        shared {
            counter Enabled "enabled",
            counter Enforced "enforced",
            counter Ok "ok",
            counter RateLimited "rate_limited",
            counter ShadowMode "shadow_mode",
        }
    }
}

schema! {
    /// `connection_limit.<stat_prefix>.`
    ConnectionLimitStat {
        shared {
            gauge ActiveConnections "active_connections",
            counter LimitedConnections "limited_connections",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.compressor.<name>.<library>.`
    CompressorStat {
        shared {
            counter Compressed "compressed",
            counter ContentLengthTooSmall "content_length_too_small",
            counter HeaderCompressorOvershadowed "header_compressor_overshadowed",
            counter HeaderCompressorUsed "header_compressor_used",
            counter HeaderIdentity "header_identity",
            counter HeaderNotValid "header_not_valid",
            counter HeaderWildcard "header_wildcard",
            counter NoAcceptHeader "no_accept_header",
            counter NotCompressed "not_compressed",
            counter NotCompressedEtag "not_compressed_etag",
            counter RequestCompressed "request.compressed",
            counter RequestContentLengthTooSmall "request.content_length_too_small",
            counter RequestNotCompressed "request.not_compressed",
            counter RequestTotalCompressedBytes "request.total_compressed_bytes",
            counter RequestTotalUncompressedBytes "request.total_uncompressed_bytes",
            counter TotalCompressedBytes "total_compressed_bytes",
            counter TotalUncompressedBytes "total_uncompressed_bytes",
        }
    }
}
