use super::*;
use serde_json::json;

fn without_facts(text: &str) -> Option<Value> {
    fn value(of: &Expression) -> Option<Value> {
        // Nothing in these expressions is an attribute.
        match of {
            Expression::Literal(value) => Some(value.clone()),
            Expression::List(all) => all.iter().map(value).collect::<Option<Vec<_>>>().map(Value::Array),
            _ => None,
        }
    }
    value(&Expression::parse(text).unwrap())
}

fn name(name: &str) -> Expression {
    Expression::Name(name.into())
}

fn member(of: Expression, key: &str) -> Expression {
    Expression::Member(Box::new(of), Box::new(Expression::Literal(key.into())))
}

#[test]
fn literals() {
    for (text, value) in [
        ("'a'", json!("a")),
        (r#""a \"b\" \\""#, json!("a \"b\" \\")),
        ("-3", json!(-3)),
        ("5u", json!(5)),
        ("1.5", json!(1.5)),
        ("true", json!(true)),
        ("[1, 'b']", json!([1, "b"])),
    ] {
        assert_eq!(without_facts(text), Some(value), "{text}");
    }
}

#[test]
fn paths_and_calls() {
    let path = member(member(name("upstream_peer"), "labels"), "a.b/c");
    assert_eq!(Expression::parse("upstream_peer.labels['a.b/c']"), Ok(path.clone()));
    assert_eq!(
        Expression::parse("has(upstream_peer.labels['a.b/c'])"),
        Ok(Expression::Call(Function::Has, vec![path]))
    );
    let starts = Expression::parse("request.path.startsWith('/a')").unwrap();
    let arguments = vec![member(name("request"), "path"), Expression::Literal("/a".into())];
    assert_eq!(starts, Expression::Call(Function::StartsWith, arguments));
}

#[test]
fn precedence_is_that_of_cel() {
    let parsed = Expression::parse("a || b && !c == d ? 1 : e + 2 in [3] ? 4 : 5").unwrap();
    let Expression::Conditional(parts) = parsed else {
        panic!()
    };
    let [condition, _, no] = *parts;
    let Expression::Binary(Operator::Or, left, right) = condition else {
        panic!()
    };
    assert_eq!(*left, name("a"));
    let Expression::Binary(Operator::And, _, equal) = *right else {
        panic!()
    };
    let Expression::Binary(Operator::Equal, not, _) = *equal else {
        panic!()
    };
    assert_eq!(*not, Expression::Not(Box::new(name("c"))));
    let Expression::Conditional(nested) = no else { panic!() };
    assert!(
        matches!(&nested[0], Expression::Binary(Operator::In, sum, _) if matches!(**sum, Expression::Binary(Operator::Add, ..)))
    );
}

#[test]
fn what_is_not_understood_is_told() {
    for (text, problem) in [
        ("a.", "ends too early"),
        ("a b", "from \"b\" on"),
        ("a.exists(x, true)", "calls exists"),
        ("has(a, b)", "takes 1 arguments"),
        ("'a", "ends within a string"),
        ("", "ends too early"),
        (&"(".repeat(100), "nested too deeply"),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
