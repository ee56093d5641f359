#pragma once

#include <string>
#include <string_view>

#include "chronos/base/process_id.h"

namespace chronos::repo {

/// One line of JSON, whose values are all text, that ends with which process wrote it: what `add`
/// was told first, and then its identity.
class ProcessText {
public:
    void add(std::string_view key, const std::string& value);
    std::string finish(const ProcessIdentity& process);

private:
    std::string text_ = "{";
};

/// Whether the key is one of a process, whose part it then sets.
bool set_process_part(ProcessIdentity& process, std::string_view key, const std::string& value);

}  // namespace chronos::repo
