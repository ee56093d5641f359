#pragma once

#include "chronos/ops/drill/drill.h"

namespace chronos::test {

/// Of a drill that passed, with one check.
inline ops::drill::DrillReport sample_drill_report() {
    ops::drill::DrillReport report;
    report.stanza = "main";
    report.started = 1795187770;
    report.finished = 1795187777;
    report.backup.label = "20261120-075745F";
    report.backup.type = "time";
    report.backup.target = "2026-11-20 08:00:00+00";
    report.restore_seconds = 0.1 + 0.2;
    report.checks = {{"assert", "SELECT 1", "1", "1", true, 0.5}};
    report.passed = true;
    return report;
}

}  // namespace chronos::test
