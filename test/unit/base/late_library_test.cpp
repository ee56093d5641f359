#include "chronos/base/late_library.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

namespace chronos {
namespace {

TEST(LateLibrary, FindsWhatTheLibraryHas) {
    LateLibrary math("libm.so.6");
    const auto cube_root = math.find<double (*)(double)>("cbrt");
    EXPECT_DOUBLE_EQ(cube_root(27), 3);
}

TEST(LateLibrary, MissingSymbolOrLibraryIsNamed) {
    LateLibrary math("libm.so.6");
    EXPECT_THROW(math.find<void (*)()>("chronos_no_such_function"), std::runtime_error);
    LateLibrary missing("libchronos-no-such.so.9");
    try {
        missing.find<void (*)()>("anything");
        FAIL() << "found";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find("libchronos-no-such.so.9"), std::string::npos);
    }
}

}  // namespace
}  // namespace chronos
