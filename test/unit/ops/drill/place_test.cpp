#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "chronos/ops/drill/drill.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::drill {
namespace {

namespace fs = std::filesystem;

// Whatever is left of it there would be in every backup of that cluster.
TEST(PlaceOfADrill, IsInNoDataDirectory) {
    const test::TemporaryDirectory directory;
    const std::string data = directory / "data";
    fs::create_directories(data + "/global");
    fs::create_directory_symlink(data, directory / "link");
    std::ofstream(data + "/PG_VERSION") << "15\n";
    std::ofstream(data + "/global/pg_control") << "x";
    const auto place = [](const std::string& parent, const std::string& to = "") {
        DrillRequest request;
        request.scratch_parent = parent;
        request.to = to;
        return check_place(request);
    };
    EXPECT_OK(place(directory.path()));
    EXPECT_OK(place(directory / "drills", directory / "data2"));
    for (const std::string& inside :
         {data, data + "/global", data + "/drills", directory / "link/drills"}) {
        SCOPED_TRACE(inside);
        EXPECT_ERROR(ErrorKind::option_invalid_value, place(inside));
        EXPECT_ERROR(ErrorKind::option_invalid_value, place(directory.path(), inside));
    }
}

}  // namespace
}  // namespace chronos::ops::drill
