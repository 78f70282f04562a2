//! Traces that are recorded as test files.

use super::qostest::{GOOD, POLICY, gqos, with_tests};

/// Each line of a trace that is accepted becomes a step of a test that passes under the same policy, whatever it names.
#[test]
fn a_recorded_trace_passes_whatever_it_names() {
    let record = |trace: &str, policy: &str| {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("p.toml", policy);
        write("t.jsonl", &trace.replace('\'', "\""));
        let output = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
        assert!(output.status.success(), "{trace}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        write("a.qostest.toml", &text);
        let run = gqos(directory.path(), &["test", "."], "");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{trace}\n{text}\n{out}\n{err}");
        text
    };
    let best_effort = "{'at_us':0,'op':'reserve','id':'v','interface':'eth9'}\n";
    let text = record(best_effort, POLICY);
    assert!(text.contains("interface = \"eth9\"") && text.contains("decision = \"admitted\""), "{text}");
    let two = format!(
        "{POLICY}[interface.eth1]\negress = {{ capacity = \"1 Mbit/s\" }}\n[client.c]\nmax_flows = 1\nrequests_per_second = 2\n"
    );
    for policy in [POLICY, &two] {
        for fields in [
            "'op':'reserve','id':'v','interface':'eth9','template':'hd'",
            "'op':'reserve','id':'v','interface':'eth9','template':'hd','class':'x'",
            "'op':'reserve','id':'v','interface':'eth9','template':'uhd','class':'x','group':'g'",
            "'op':'reserve','id':'v','interface':'eth9','class':'x','group':'g'",
            "'op':'reserve','id':'v','interface':'eth9','start_us':5,'end_us':4",
            "'op':'reserve','id':'a','interface':'eth9','class':'x'",
            "'op':'reserve','id':'v','interface':'eth9','client':'c','setup_priority':1,'holding_priority':2",
            "'op':'renegotiate','id':'x','sending':{'service_type':'best_effort'}",
            "'op':'renegotiate','id':'a','template':'hd'",
            "'op':'renegotiate','id':'a','template':'none','wait':null",
            "'op':'renegotiate','id':'x','template':'none'",
            "'op':'refresh','id':'x','ttl_us':5",
            "'op':'release','id':'x'",
            "'op':'peer','id':'x','state':'silent'",
            "'op':'peer','id':'a','state':'gone'",
            "'op':'group','id':'h','interface':'eth9','template':'hd'",
            "'op':'group','id':'h','interface':'eth9','class':'x','template':'hd'",
            "'op':'group','id':'h','interface':'eth0','class':'x','template':'hd'",
            "'op':'ungroup','id':'h'",
            "'op':'capacity','interface':'eth9','direction':'egress','capacity':9",
            "'op':'measure','interface':'eth9','class':'x','window_us':1000000,'rate':{'sending':1,'receiving':1}",
            "'op':'measure','interface':'eth0','class':'x','window_us':1000000,'rate':{'sending':1,'receiving':1}",
            "'op':'query','interface':'eth9'",
            "'op':'query','interface':'eth0','template':'uhd'",
            "'op':'query','interface':'eth0','template':'hd'",
            "'op':'query','id':'q','interface':'eth0','template':'hd','class':'x','start_us':5000,'end_us':9000",
            "'op':'query','interface':'eth9','template':'hd'",
            "'op':'query','interface':'eth9','class':'x'",
            "'op':'query','interface':'eth0','template':'hd','start_us':5,'end_us':4",
            "'op':'reserve','id':'w','interface':'eth0','wait':true,'sending':{'service_type':'guaranteed','token_rate':12500000}",
            "'op':'reserve','id':'w','interface':'eth0','wait':true,'template':'hd'",
            "'op':'tick'",
        ] {
            let first =
                "{'at_us':0,'op':'reserve','id':'a','interface':'eth0','client':'c','template':'hd'}\n";
            record(&format!("{first}{{'at_us':9,{fields}}}\n"), policy);
            record(&format!("{{'at_us':9,{fields}}}\n"), policy);
        }
    }
}

/// What is decided of a query, which rendition a flow gets, and whether it waits, are expectations as well.
#[test]
fn all_of_a_decision_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let spec =
        |rate: &str| format!("sending = {{ service_type = \"guaranteed\", token_rate = \"{rate}\" }}\n");
    let policy = format!(
        "version = 1\n[interface.eth0]\negress = {{ capacity = \"10 Mbit/s\", reservable = \"80%\" }}\n\
         [template.hd]\n{}[template.sd]\n{}",
        spec("6 Mbit/s"),
        spec("2 Mbit/s")
    );
    write("p.toml", &policy);
    let record = |trace: &str| {
        write("t.jsonl", &trace.replace('\'', "\""));
        let output = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let (code, text, error) = record(
        "{'at_us':0,'op':'reserve','id':'a','interface':'eth0','templates':['hd','sd']}\n\
         {'at_us':1,'op':'reserve','id':'b','interface':'eth0','templates':['hd','sd']}\n\
         {'at_us':2,'op':'reserve','id':'c','interface':'eth0','wait':true,'template':'hd'}\n\
         {'at_us':3,'op':'reserve','id':'d','interface':'eth0','wait':true,'class':'none','template':'hd'}\n\
         {'at_us':4,'op':'query','interface':'eth0','class':'none','template':'hd'}\n\
         {'at_us':5,'op':'query','interface':'eth0','template':'none'}\n",
    );
    assert_eq!(code, Some(0), "{error}");
    for line in [
        "expect = { decision = \"admitted\", rendition = \"hd\", interface",
        "expect = { decision = \"admitted\", rendition = \"sd\", interface",
        "reason = \"interface_budget\", waiting = true",
        "reason = \"unknown_class\", waiting = false",
        "query = { interface = \"eth0\", class = \"none\"",
        "query = { interface = \"eth0\", template = \"none\" }\nexpect = { decision = \"refused\"",
        "reason = \"unknown_template\"",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    write("a.qostest.toml", &text);
    let run = gqos(directory.path(), &["test", "."], "");
    assert!(run.status.success(), "{}\n{text}", String::from_utf8_lossy(&run.stdout));
    // Each expectation is one that fails under another policy.
    write("a.qostest.toml", &text.replace("waiting = true", "waiting = false"));
    assert_eq!(gqos(directory.path(), &["test", "."], "").status.code(), Some(1));

    for empty in ["", "\n \n", "\u{feff}"] {
        let (code, text, error) = record(empty);
        assert_eq!((code, &*text), (Some(78), ""), "{error}");
        assert!(error.contains("t.jsonl: the trace has no request"), "{error}");
    }
}

/// In a test, `{n}` in the id of a flow stands for a number.
#[test]
fn a_trace_with_an_id_that_a_test_would_change_is_not_recorded() {
    let directory = with_tests("");
    for fields in [
        "'op':'reserve','id':'v{n}','interface':'eth0','ttl_us':5",
        "'op':'renegotiate','id':'v{n}','template':'none'",
        "'op':'release','id':'{n}'",
    ] {
        let trace = format!("{{'at_us':0,'op':'tick'}}\n{{'at_us':1,{fields}}}\n").replace('\'', "\"");
        std::fs::write(directory.path().join("t.jsonl"), trace).unwrap();
        let output = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{message}");
        assert!(
            message.contains("t.jsonl:2: the id") && message.contains("contains {n}, which stands for"),
            "{message}"
        );
    }
}

#[test]
fn a_measurement_and_a_group_of_nothing_on_an_unknown_interface_are_recorded() {
    let directory = with_tests(GOOD);
    let trace = "{\"at_us\":0,\"op\":\"measure\",\"interface\":\"nope\",\"class\":\"viewer\",\"window_us\":1000000,\"rate\":{\"sending\":1,\"receiving\":1}}\n\
                 {\"at_us\":0,\"op\":\"group\",\"id\":\"n\",\"interface\":\"nope\",\"mode\":\"shared\"}\n";
    std::fs::write(directory.path().join("t.jsonl"), trace).unwrap();
    let recorded = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
    let text = String::from_utf8(recorded.stdout).unwrap();
    assert!(text.contains("reason = \"not_measured\""), "{text}");
    std::fs::write(directory.path().join("a.qostest.toml"), text).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8(output.stderr).unwrap());
}
