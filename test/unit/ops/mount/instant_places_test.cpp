// Which parts of a cluster may be left in the backup: those where something can be mounted, or that
// are reached through the mount of another one, and where files can be told apart.
#include "ops/mount/instant_places.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

/// A cluster in `top`, of which nothing is there yet.
repo::Manifest cluster_in(const test::TemporaryDirectory& top) {
    repo::Manifest manifest;
    manifest.pg_version = "15";
    manifest.catalog_version = 202209061;
    manifest.targets = {
        {.name = "pg_data", .path = top / "data", .file = "", .tablespace_name = ""}};
    return manifest;
}
void add_tablespace(repo::Manifest& manifest, std::uint32_t oid, const std::string& path) {
    manifest.targets.push_back({.name = "pg_tblspc/" + std::to_string(oid),
                                .is_link = true,
                                .path = path,
                                .file = "",
                                .tablespace_oid = oid,
                                .tablespace_name = "t"});
}
void add_link(repo::Manifest& manifest, const std::string& name, const std::string& path,
              const std::string& file = "") {
    manifest.targets.push_back({.name = "pg_data/" + name,
                                .is_link = true,
                                .path = path,
                                .file = file,
                                .tablespace_name = ""});
}

TEST(InstantPlaces, AreTheDataDirectoryAndWhatBelongsToIt) {
    const test::TemporaryDirectory top;
    repo::Manifest manifest = cluster_in(top);
    add_tablespace(manifest, 16384, top / "new");
    fs::create_directories(top / "old/PG_15_202209061");
    add_tablespace(manifest, 1638, top / "old/");
    add_link(manifest, "base/5", "../../five");
    add_link(manifest, "base/6/1259", top / "file", "1259");
    add_link(manifest, "global", top / "global");
    add_link(manifest, "pg_wal", top / "wal");
    const InstantPlaces places(manifest);
    EXPECT_OK(places.check());
    EXPECT_THAT(places.notes, IsEmpty());
    const std::string real = fs::canonical(top.path()).string();
    EXPECT_THAT(places.tablespaces, ElementsAre(Pair("pg_tblspc/1638", real + "/old"),
                                                Pair("pg_tblspc/16384", real + "/new")));
    EXPECT_THAT(places.links, ElementsAre("base/5", "global"));
    for (const char* name : {"pg_data/base/1/1259", "pg_data/base/5/1259",
                             "pg_tblspc/16384/PG_15_202209061/5/1", "pg_tblspc/1638/PG_15/1"})
        EXPECT_TRUE(places.may_leave(name)) << name;
    for (const char* name : {"pg_data/global/1260", "pg_data/base/6/1259", "pg_data/pg_wal/0",
                             "pg_tblspc/16385/PG_15/1", "pg_data/baseless"})
        EXPECT_FALSE(places.may_leave(name)) << name;
    EXPECT_EQ(places.tablespace_of("pg_tblspc/16384/PG_15/1"), "pg_tblspc/16384");
    EXPECT_EQ(places.tablespace_of("pg_data/base/1/1259"), "");
}

TEST(InstantPlaces, WhereNothingCanBeMountedAllIsRestoredAtOnceWhichIsSaid) {
    const test::TemporaryDirectory top;
    repo::Manifest manifest = cluster_in(top);
    fs::create_directories(top / "shared/PG_14_202107181");
    add_tablespace(manifest, 1, top / "shared");
    add_tablespace(manifest, 2, top / "data/inside");
    add_tablespace(manifest, 3, "/proc/self");
    add_tablespace(manifest, 4, top / "in\nlines");
    const InstantPlaces places(manifest);
    EXPECT_THAT(places.tablespaces, IsEmpty());
    EXPECT_THAT(places.notes,
                ElementsAre(HasSubstr("there is something else in it"), HasSubstr("is not apart"),
                            HasSubstr("no attributes for users"), HasSubstr("its name")));
    EXPECT_FALSE(places.may_leave("pg_tblspc/1/PG_15/1"));
}

TEST(InstantPlaces, NoServerMayStartThroughALink) {
    const test::TemporaryDirectory top;
    repo::Manifest manifest = cluster_in(top);
    add_link(manifest, "global/pg_control", top / "control", "pg_control");
    EXPECT_ERROR(ErrorKind::feature_not_supported, InstantPlaces(manifest).check());
}

}  // namespace
}  // namespace chronos::ops::mount
