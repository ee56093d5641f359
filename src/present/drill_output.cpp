#include "chronos/present/drill_output.h"

#include <nlohmann/json.hpp>

#include "chronos/base/clock.h"
#include "chronos/base/text.h"

namespace chronos::present {
namespace {

using nlohmann::json;

std::string member_text(const json& record, const char* name) {
    const auto found = record.find(name);
    return found != record.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string format_drill_history(const json& history) {
    std::string text;
    for (const json& record : history) {
        const bool passed = record.value("passed", false);
        const json failure = record.value("failure", json());
        const json backup = record.value("backup", json::object());
        text += format_local_time(record.value("finished", UnixTime{0})) + "  " +
                (passed ? "passed" : "FAILED") + "  " + member_text(backup, "label") + "  " +
                member_text(record, "type");
        if (const std::string target = member_text(record, "target"); !target.empty())
            text += " " + printable(target);
        if (failure.is_object()) text += "  " + printable(member_text(failure, "message"));
        text += "\n";
    }
    return text.empty() ? "no drills\n" : text;
}

}  // namespace chronos::present
