//! `server.` and what stands beside it at the top level: the process as a whole.

schema! {
    /// `server.`
    ServerStat {
        shared {
            // Ours: how many certificates in use should have been renewed, or are expired.
            lazy_gauge CertificatesOverdue "certificates_overdue",
            gauge CompilationSettingsFipsMode "compilation_settings.fips_mode",
            gauge Concurrency "concurrency",
            gauge DaysUntilFirstCertExpiring "days_until_first_cert_expiring",
            counter DebugAssertionFailures "debug_assertion_failures",
            counter DroppedStatFlushes "dropped_stat_flushes",
            counter DynamicUnknownFields "dynamic_unknown_fields",
            counter EnvoyBugFailures "envoy_bug_failures",
            counter EnvoyNotifications "envoy_notifications",
            gauge HotRestartEpoch "hot_restart_epoch",
            // Only where hot restart is not disabled.
            lazy_gauge HotRestartGeneration "hot_restart_generation",
            gauge Live "live",
            gauge MemoryAllocated "memory_allocated",
            gauge MemoryHeapSize "memory_heap_size",
            gauge MemoryPhysicalSize "memory_physical_size",
            gauge ParentConnections "parent_connections",
            // Ours: certificates of a mesh live for hours.
            lazy_gauge SecondsUntilFirstCertExpiring "seconds_until_first_cert_expiring",
            gauge SecondsUntilFirstOcspResponseExpiring "seconds_until_first_ocsp_response_expiring",
            gauge State "state",
            counter StaticUnknownFields "static_unknown_fields",
            gauge StatsRecentLookups "stats_recent_lookups",
            gauge TotalConnections "total_connections",
            gauge Uptime "uptime",
            gauge Version "version",
            counter WipProtos "wip_protos",
        }
        histograms {
            histogram InitializationTimeMs "initialization_time_ms",
        }
    }
}

schema! {
    /// `main_thread.`, `workers.`, `server.main_thread.`, `server.worker_<n>.`
    WatchdogStat {
        shared {
            counter WatchdogMiss "watchdog_miss",
            counter WatchdogMegaMiss "watchdog_mega_miss",
        }
    }
}

schema! {
    /// `runtime.`
    RuntimeStat {
        shared {
            gauge AdminOverridesActive "admin_overrides_active",
            gauge DeprecatedFeatureSeenSinceProcessStart "deprecated_feature_seen_since_process_start",
            counter DeprecatedFeatureUse "deprecated_feature_use",
            counter LoadError "load_error",
            counter LoadSuccess "load_success",
            gauge NumKeys "num_keys",
            gauge NumLayers "num_layers",
            counter OverrideDirExists "override_dir_exists",
            counter OverrideDirNotExists "override_dir_not_exists",
        }
    }
}

schema! {
    /// `filesystem.`: access logs and other files written to.
    FilesystemStat {
        per_thread {
            counter WriteBuffered "write_buffered",
            gauge WriteTotalBuffered "write_total_buffered",
            counter WriteCompleted "write_completed",
        }
        shared {
            counter FlushedByTimer "flushed_by_timer",
            counter ReopenFailed "reopen_failed",
            counter WriteFailed "write_failed",
        }
    }
}

schema! {
    /// `dns.cares.`: look-ups, under the name that dashboards know.
    DnsStat {
        shared {
            counter GetAddrFailure "get_addr_failure",
            counter NotFound "not_found",
            gauge PendingResolutions "pending_resolutions",
            counter Reinits "reinits",
            counter ResolveTotal "resolve_total",
            counter Timeouts "timeouts",
        }
    }
}

schema! {
    /// `overload.` and `envoy.overload_actions.`, made of two groups.
    OverloadStat {
        histograms {
            histogram RefreshIntervalDelay "refresh_interval_delay",
        }
    }
}

schema! {
    /// `envoy.overload_actions.`
    OverloadActionStat {
        shared {
            counter ResetHighMemoryStreamCount "reset_high_memory_stream.count",
        }
    }
}

schema! {
    /// `cluster_manager.`
    ClusterManagerStat {
        shared {
            gauge ActiveClusters "active_clusters",
            counter ClusterAdded "cluster_added",
            counter ClusterModified "cluster_modified",
            counter ClusterRemoved "cluster_removed",
            counter ClusterUpdated "cluster_updated",
            counter ClusterUpdatedViaMerge "cluster_updated_via_merge",
            counter UpdateMergeCancelled "update_merge_cancelled",
            counter UpdateOutOfMergeWindow "update_out_of_merge_window",
            gauge WarmingClusters "warming_clusters",
        }
    }
}

schema! {
    /// `thread_local_cluster_manager.<thread>.`
    ThreadLocalClusterManagerStat {
        shared {
            gauge ClustersInflated "clusters_inflated",
        }
    }
}
