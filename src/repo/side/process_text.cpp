#include "repo/side/process_text.h"

#include "chronos/base/text.h"
#include "repo/json_text.h"

namespace chronos::repo {

void ProcessText::add(std::string_view key, const std::string& value) {
    if (text_.size() > 1) text_ += ",";
    append_json_string(text_, key);
    text_ += ":";
    append_json_string(text_, value);
}

std::string ProcessText::finish(const ProcessIdentity& process) {
    add("host", process.host);
    add("boot", process.boot_id);
    add("namespace", process.pid_namespace);
    add("pid", std::to_string(process.pid));
    add("start", std::to_string(process.start_ticks));
    return text_ + "}\n";
}

bool set_process_part(ProcessIdentity& process, std::string_view key, const std::string& value) {
    if (key == "host")
        process.host = value;
    else if (key == "boot")
        process.boot_id = value;
    else if (key == "namespace")
        process.pid_namespace = value;
    else if (key == "pid")
        process.pid = static_cast<pid_t>(parse_uint(value).value_or(0));
    else if (key == "start")
        process.start_ticks = parse_uint(value).value_or(0);
    else
        return false;
    return true;
}

}  // namespace chronos::repo
