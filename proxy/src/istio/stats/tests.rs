use super::{
    labels::{Labels, UNKNOWN},
    overrides::Overrides,
    *,
};

fn standard() -> Labels {
    Labels(LABELS.iter().map(|name| (*name, "x".to_owned())).collect())
}

#[test]
fn there_are_twenty_five_labels_and_ten_metrics_in_order() {
    assert_eq!((LABELS[0], LABELS[24]), ("reporter", "connection_security_policy"));
    for (at, (metric, _)) in Metric::ALL.iter().enumerate() {
        assert_eq!(*metric as usize, at);
    }
}

#[test]
fn overrides_keep_the_order_and_add_at_the_end() {
    let mut overrides = Overrides::default();
    overrides.set(0, "reporter", None);
    overrides.set(0, "source_app", Some(0));
    overrides.set(0, "own", Some(1));
    overrides.set(0, "gone", None);
    overrides.metrics[1].dropped = true;
    let labels = standard();
    let values = [Some("told".to_owned()), None];
    let changed = overrides.apply(Metric::Requests, &labels, &values).unwrap();
    assert_eq!(changed.len(), 25);
    assert_eq!(changed[0].0, "source_workload");
    assert_eq!(changed[5], ("source_app", "told"));
    assert_eq!(changed[24], ("own", UNKNOWN));
    assert_eq!(overrides.apply(Metric::RequestDuration, &labels, &values), None);
    assert_eq!(
        overrides.apply(Metric::TcpSent, &labels, &values).unwrap(),
        labels.pairs()
    );
}

#[test]
fn the_build_shows_once_a_filter_is_configured() {
    let store = Store::new(1, crate::stats::StatsConfig::default());
    let node = Node {
        metadata: Arc::new(serde_json::json!({"ISTIO_VERSION": "1.31.0"})),
        ..Node::default()
    };
    prepare(&store, &node);
    let text = |store: &Store| {
        store
            .render(crate::stats::Query::parse("", false).unwrap())
            .collect::<String>()
    };
    assert_eq!(text(&store), "");
    announce(&store);
    assert_eq!(text(&store), "istiocustom.istio_build.component.proxy.tag.1.31.0: 1\n");
}
