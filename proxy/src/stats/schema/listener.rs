//! `listener.<address>.`: Envoy's documentation, "Listeners, statistics"; its TLS, and the listener filters.

schema! {
    /// `listener.<address>.`
    ListenerStat {
        per_thread {
            worker_counter DownstreamCxTotal "downstream_cx_total",
            worker_gauge DownstreamCxActive "downstream_cx_active",
            counter DownstreamCxDestroy "downstream_cx_destroy",
            gauge DownstreamPreCxActive "downstream_pre_cx_active",
        }
        shared {
            counter DownstreamCxOverflow "downstream_cx_overflow",
            counter DownstreamCxOverloadReject "downstream_cx_overload_reject",
            counter DownstreamCxTransportSocketConnectTimeout "downstream_cx_transport_socket_connect_timeout",
            counter DownstreamGlobalCxOverflow "downstream_global_cx_overflow",
            counter DownstreamListenerFilterError "downstream_listener_filter_error",
            counter DownstreamListenerFilterRemoteClose "downstream_listener_filter_remote_close",
            counter DownstreamPreCxTimeout "downstream_pre_cx_timeout",
            counter ExtensionConfigMissing "extension_config_missing",
            counter NetworkExtensionConfigMissing "network_extension_config_missing",
            counter NoFilterChainMatch "no_filter_chain_match",
        }
        histograms {
            histogram ConnectionsAcceptedPerSocketEvent "connections_accepted_per_socket_event",
            histogram DownstreamCxLengthMs "downstream_cx_length_ms",
        }
    }
}

schema! {
    /// `listener.<address>.ssl.` and `cluster.<name>.ssl.`
    SslStat {
        per_thread {
            counter Handshake "handshake",
            counter ConnectionError "connection_error",
            counter NoCertificate "no_certificate",
            counter SessionReused "session_reused",
        }
        shared {
            counter FailVerifyCertHash "fail_verify_cert_hash",
            counter FailVerifyError "fail_verify_error",
            counter FailVerifyNoCert "fail_verify_no_cert",
            counter FailVerifySan "fail_verify_san",
            counter OcspStapleFailed "ocsp_staple_failed",
            counter OcspStapleOmitted "ocsp_staple_omitted",
            counter OcspStapleRequests "ocsp_staple_requests",
            counter OcspStapleResponses "ocsp_staple_responses",
        }
        families {
            Ciphers "ciphers.",
            Versions "versions.",
            Curves "curves.",
            Sigalgs "sigalgs.",
        }
    }
}

schema! {
    /// `….server_ssl_socket_factory.` and `….client_ssl_socket_factory.`: secrets that SDS gives.
    SslSocketFactoryStat {
        shared {
            counter DownstreamContextSecretsNotReady "downstream_context_secrets_not_ready",
            counter SslContextUpdateBySds "ssl_context_update_by_sds",
            counter UpstreamContextSecretsNotReady "upstream_context_secrets_not_ready",
        }
    }
}

schema! {
    /// `….ssl.certificate.<name>.`
    CertificateStat {
        shared {
            gauge ExpirationUnixTimeSeconds "expiration_unix_time_seconds",
        }
    }
}

schema! {
    /// `tls_inspector.`
    TlsInspectorStat {
        per_thread {
            counter AlpnFound "alpn_found",
            counter AlpnNotFound "alpn_not_found",
            counter ClientHelloTooLarge "client_hello_too_large",
            counter SniFound "sni_found",
            counter SniNotFound "sni_not_found",
            counter TlsFound "tls_found",
            counter TlsNotFound "tls_not_found",
        }
        histograms {
            histogram BytesProcessed "bytes_processed",
        }
    }
}

schema! {
    /// `http_inspector.`
    HttpInspectorStat {
        per_thread {
            counter Http10Found "http10_found",
            counter Http11Found "http11_found",
            counter Http2Found "http2_found",
            counter HttpNotFound "http_not_found",
            counter ReadError "read_error",
        }
    }
}

schema! {
    /// `listener_manager.`
    ListenerManagerStat {
        shared {
            counter ListenerAdded "listener_added",
            counter ListenerCreateFailure "listener_create_failure",
            counter ListenerCreateSuccess "listener_create_success",
            counter ListenerInPlaceUpdated "listener_in_place_updated",
            counter ListenerModified "listener_modified",
            counter ListenerRemoved "listener_removed",
            counter ListenerStopped "listener_stopped",
            gauge TotalFilterChainsDraining "total_filter_chains_draining",
            gauge TotalListenersActive "total_listeners_active",
            gauge TotalListenersDraining "total_listeners_draining",
            gauge TotalListenersWarming "total_listeners_warming",
            gauge WorkersPinned "workers_pinned",
            gauge WorkersStarted "workers_started",
        }
    }
}
