#include "extension/stanza_name.h"

#include "chronos/base/stanza_name.h"

namespace chronos::extension {

const char* stanza_problem(const char* name) noexcept {
    return stanza_name_problem(name);
}

}  // namespace chronos::extension
