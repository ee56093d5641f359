#include "extension/version.h"

namespace chronos::extension {

const char kModuleVersion[] = CHRONOS_VERSION;

}  // namespace chronos::extension
