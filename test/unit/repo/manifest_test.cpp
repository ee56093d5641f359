#include "chronos/repo/manifest.h"
#include "chronos/repo/manifest_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iomanip>
#include <random>

#include "info_samples.h"
#include "random_bytes.h"
#include "repo/manifest_sink.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

Manifest sample() {
    Result<Manifest> manifest = parse_manifest(kManifest);
    return std::move(manifest).value();
}

TEST(Manifest, ReferenceExampleComesBackByteForByte) {
    const auto manifest = parse_manifest(kManifest);
    ASSERT_OK(manifest);
    EXPECT_EQ(format_manifest(*manifest), kManifest);
}

TEST(Manifest, SettingsAreRead) {
    const Manifest m = sample();
    EXPECT_EQ(m.backrest_version, "2.59.1");
    EXPECT_EQ(m.label, "20261120-075745F_20261120-075819I");
    EXPECT_EQ(m.type, BackupType::incr);
    EXPECT_EQ(m.prior, "20261120-075745F_20261120-075816D");
    EXPECT_EQ(m.references.size(), 3u);
    EXPECT_EQ(m.references.back(), m.label);
    EXPECT_EQ(m.lsn_start, Lsn::parse("0/9000028"));
    EXPECT_EQ(m.timestamp_copy_start, 1795161500);
    EXPECT_EQ(m.system_id, 7710159678555610611u);
    EXPECT_EQ(m.options.compress_type, compress::CompressType::gz);
    EXPECT_EQ(m.options.compress_level, 6);
    EXPECT_TRUE(m.options.online);
    EXPECT_EQ(m.annotations.at("key two"), "a \"b\"");
    EXPECT_EQ(m.databases.size(), 5u);
}

TEST(Manifest, EntriesTakeDefaultsOnlyForWhatTheyLeaveOut) {
    const Manifest m = sample();
    const ManifestFile* odd = m.find_file("pg_data/odd/exec");
    ASSERT_NE(odd, nullptr);
    EXPECT_EQ(odd->mode, mode_t{0755});
    EXPECT_EQ(odd->user, std::nullopt);
    EXPECT_EQ(odd->group, std::nullopt);
    const ManifestFile* plain = m.find_file("pg_data/PG_VERSION");
    ASSERT_NE(plain, nullptr);
    EXPECT_EQ(plain->mode, mode_t{0600});
    EXPECT_EQ(plain->user, "postgres");
    EXPECT_EQ(m.links.at(0).user, "postgres");
}

TEST(Manifest, PageErrorsAreRanges) {
    const Manifest m = sample();
    const ManifestFile* file = m.find_file("pg_data/base/5/16412");
    ASSERT_NE(file, nullptr);
    EXPECT_TRUE(file->page_error);
    EXPECT_EQ(file->page_error_ranges, (PageRanges{{3, 3}, {5, 7}, {10, 10}}));
}

TEST(Manifest, AnEmptyFileHasAnImplicitChecksum) {
    const Manifest m = sample();
    const ManifestFile* file = m.find_file("pg_data/empty");
    ASSERT_NE(file, nullptr);
    EXPECT_TRUE(file->checksum.empty());
    EXPECT_EQ(file->expected_checksum(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    EXPECT_OK(validate_manifest(m));
}

TEST(Manifest, AFileWithoutChecksumIsNotFitForRestore) {
    Manifest m = sample();
    m.files[0].checksum = "";
    const auto valid = validate_manifest(m);
    EXPECT_ERROR(ErrorKind::format, valid);
    EXPECT_EQ(valid.error().message(),
              "manifest validation failed:\nmissing checksum for file 'pg_data/PG_VERSION'");
}

TEST(Manifest, EveryMemberSurvivesTheWayThroughText) {
    Manifest m = sample();
    m.block_incr = m.bundle = m.bundle_raw = true;
    m.cipher_pass = "zN5/+FCd\"\\";
    m.options.compress_level = -3;
    m.databases.push_back({"line\ttab ü = [x]", 7, 4});
    ManifestFile file;
    file.name = "pg_data/base/a=b \"c\" \\d/{\"e\":1}";
    file.size = 70000;
    file.size_original = 0;
    file.timestamp = -1;
    file.checksum = std::string(40, 'a');
    file.repo_checksum = std::string(40, 'b');
    file.repo_size = 99;
    file.reference = "20261120-075745F";
    file.bundle_id = 3;
    file.bundle_offset = 18446744073709551615u;
    file.block_size = 4 * 8192;
    file.block_checksum_size = 7;
    file.block_map_size = 43;
    file.page_checked = true;
    file.mode = 04755;
    file.user = "o\"wner";
    m.files.insert(m.files.begin() + 2, file);
    std::sort(m.files.begin(), m.files.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    m.paths[0].user = std::nullopt;
    m.links[0].group = "other";
    const std::string text = format_manifest(m);
    EXPECT_NE(text.find("option-compress-level=4294967293\n"), std::string::npos);
    const auto back = parse_manifest(text);
    ASSERT_OK(back);
    Manifest sorted = m;
    std::sort(sorted.databases.begin(), sorted.databases.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    EXPECT_EQ(*back, sorted);
    EXPECT_EQ(format_manifest(*back), text);
}

TEST(Manifest, WritesListsSortedWhateverTheirOrder) {
    Manifest m = sample();
    std::reverse(m.files.begin(), m.files.end());
    std::reverse(m.databases.begin(), m.databases.end());
    std::reverse(m.paths.begin(), m.paths.end());
    EXPECT_EQ(format_manifest(m), kManifest);
}

// The reader of lines sees what follows itself; a writer that does not sort may have put something
// else in between.
TEST(Manifest, WhatIsThereTwiceIsRefusedInWhateverOrder) {
    const std::string text(kManifest);
    for (const std::string section :
         {"\n[target:file]\n", "\n[target:path]\n", "\n[db]\n", "\n[backup:target]\n"}) {
        const std::size_t begin = text.find(section) + section.size();
        const std::size_t end = text.find("\n\n", begin) + 1;
        const std::string first = text.substr(begin, text.find('\n', begin) + 1 - begin);
        const std::string lines = text.substr(begin, end - begin);
        ASSERT_GT(lines.size(), first.size()) << section;
        const std::string again = "\n[later]\nx=1\n" + section;
        for (const std::string& between : {std::string(), again}) {
            const auto manifest = parse_manifest(changed(text, lines, lines + between + first));
            ASSERT_FALSE(manifest) << section;
            EXPECT_EQ(manifest.error().kind(), ErrorKind::format);
            EXPECT_NE(manifest.error().message().find("twice"), std::string::npos) << section;
        }
    }
}

TEST(Manifest, UnknownKeysAndSectionsAreIgnored) {
    std::string text = changed(std::string(kManifest), "[metadata]\n",
                               "[later]\nx={\"y\":[1,{\"z\":null}]}\n\n[metadata]\nnew=true\n");
    text = changed(text, "\"size\":3,", "\"size\":3,\"sparse\":{\"a\":[]},");
    const auto manifest = parse_manifest(text);
    ASSERT_OK(manifest);
    EXPECT_EQ(*manifest, sample());
}

TEST(Manifest, CompressionOfVeryOldManifestsFollowsTheFlag) {
    std::string text = changed(std::string(kManifest), "option-compress-type=\"gz\"\n", "");
    auto manifest = parse_manifest(text);
    ASSERT_OK(manifest);
    EXPECT_EQ(manifest->options.compress_type, compress::CompressType::gz);
}

TEST(Manifest, AChainThatIsNotListedIsCollectedFromTheFiles) {
    const std::string list =
        "backup-reference=\"20261120-075745F,20261120-075745F_20261120-075816D,"
        "20261120-075745F_20261120-075819I\"\n";
    const auto manifest = parse_manifest(changed(std::string(kManifest), list, ""));
    ASSERT_OK(manifest);
    EXPECT_EQ(manifest->references,
              (std::vector<std::string>{"20261120-075745F", "20261120-075745F_20261120-075819I"}));
}

struct Damage {
    const char* from;
    const char* to;
    const char* named;
};

// The checksum is right in each: the value itself must be refused, and named.
TEST(Manifest, ValuesThatCannotBeTrueAreRefusedByName) {
    const Damage damages[] = {
        {"\"size\":3,", "", "missing 'size'"},
        {",\"timestamp\":1795161440", "", "missing 'timestamp'"},
        {"\"size\":3", "\"size\":\"3\"", "pg_data/PG_VERSION"},
        {"\"size\":3", "\"size\":-3", "pg_data/PG_VERSION"},
        {"\"size\":3", "\"size\":18446744073709551616", "pg_data/PG_VERSION"},
        {"587b596f04f7db9c2cad3d6b87dd2b3a05de4f35", "587b", "SHA-1"},
        {"587b596f04f7db9c2cad3d6b87dd2b3a05de4f35", "587B596f04f7db9c2cad3d6b87dd2b3a05de4f35",
         "SHA-1"},
        {"[3,[5,7],10]", "[3,[5],10]", "range"},
        {"[3,[5,7],10]", "[3,[7,5],10]", "range"},
        {"\"mode\":\"0644\"", "\"mode\":\"0689\"", "octal"},
        {"\"user\":false", "\"user\":true", "name or false"},
        {"\"reference\":\"20261120-075745F\"", "\"reference\":\"../../x\"", "label"},
        {"pg_data/odd/exec=", "pg_data/../../etc/passwd=", "inside a backup"},
        {"pg_data/odd/exec=", "pg_data//exec=", "inside a backup"},
        {"pg_data/odd=", "etc/odd=", "inside a backup"},
        {"pg_data/pg_stat={\"dest", "/pg_stat={\"dest", "inside a backup"},
        {"backup-label=\"20261120-075745F_20261120-075819I\"\n", "", "backup-label"},
        {"backup-label=\"2026", "backup-label=\"x026", "backup-label"},
        {"backup-type=\"incr\"", "backup-type=\"half\"", "backup-type"},
        {"backup-lsn-start=\"0/9000028\"", "backup-lsn-start=\"nine\"", "backup-lsn-start"},
        {"option-compress-type=\"gz\"", "option-compress-type=\"rar\"", "option-compress-type"},
        {"db-version=\"15\"", "db-version=\"../1\"", "PostgreSQL version"},
        {"db-catalog-version=202209061", "db-catalog-version=4294967296", "too large"},
        {"pg_data={\"path\":\"/var/lib/postgresql/15/main\",\"type\":\"path\"}\n", "",
         "[backup:target]"},
        {"annotation={\"k1\":\"v1\"", "annotation={\"k1\":1", "annotation"},
        {"\"rck\":\"e1ffc2b7ec1495a045ba9ea4abb423637af0276c\"", "\"bim\":5", "'bim' without 'bi'"},
    };
    for (const Damage& damage : damages) {
        SCOPED_TRACE(std::string(damage.from) + " -> " + damage.to);
        const auto manifest =
            parse_manifest(changed(std::string(kManifest), damage.from, damage.to));
        ASSERT_FALSE(manifest);
        EXPECT_NE(manifest.error().message().find(damage.named), std::string::npos)
            << manifest.error().message();
    }
}

TEST(Manifest, CutAnywhereItIsRefused) {
    for (std::size_t size = 0; size + 1 < kManifest.size(); size += 7)
        EXPECT_FALSE(parse_manifest(kManifest.substr(0, size))) << size;
}

TEST(Manifest, InPiecesItIsTheSame) {
    for (const std::size_t size : {1, 7, 100, 5000}) {
        ManifestSink sink;
        for (std::size_t at = 0; at < kManifest.size(); at += size)
            ASSERT_OK(sink.write(io::bytes(kManifest.substr(at, size))));
        const auto manifest = sink.take();
        ASSERT_OK(manifest);
        EXPECT_EQ(*manifest, *parse_manifest(kManifest));
        EXPECT_EQ(sink.first(), '[');
    }
    ManifestSink sink;
    ASSERT_OK(sink.write(io::bytes(kManifest.substr(0, 500))));
    ASSERT_OK(sink.write(io::bytes("garbage\n")));
    ASSERT_OK(sink.write(io::bytes(kManifest.substr(500))));
    EXPECT_ERROR(ErrorKind::format, sink.take());
}

TEST(Manifest, SizesCountReferencedFilesOnceAndStoredBytesWhereKnown) {
    const Manifest m = sample();
    const Manifest::Sizes sizes = m.sizes();
    EXPECT_EQ(sizes.size, 3u + 258 + 1949696 + 712704 + 0 + 8192 + 3 + 40960);
    EXPECT_EQ(sizes.size_delta, 258u + 1949696 + 712704 + 8192 + 40960);
    EXPECT_EQ(sizes.repo_size, 23u + 195 + 109244 + 25262 + 20 + 208 + 23 + 4833);
    EXPECT_EQ(sizes.repo_size_delta, 195u + 109244 + 25262 + 208 + 4833);
}

TEST(Manifest, ANameThatWouldBreakTheFileIsRefused) {
    EXPECT_OK(check_manifest_name("pg_data/a=b \"c\""));
    EXPECT_ERROR(ErrorKind::format, check_manifest_name("pg_data/a\nb"));
    EXPECT_ERROR(ErrorKind::format, check_manifest_name("\n"));
    EXPECT_ERROR(ErrorKind::format, check_manifest_name(std::string_view("pg_data/a\0b", 11)));
    EXPECT_ERROR(ErrorKind::format, check_manifest_name(""));
    const Result<> refused = check_manifest_name("pg_data/\x1b[31m\xff\n");
    EXPECT_EQ(refused.error().message(),
              "name 'pg_data/?[31m?"
              "?' cannot be stored: a manifest has one line a name");
}

/// Up to 12 bytes, most of them ones that mean something to a reader of manifests.
std::string hostile_text(std::mt19937_64& random) {
    using namespace std::string_view_literals;
    constexpr std::string_view kSpecial =
        "=[]{}\"\"\\:,#;\n\r\t \0\x01\x7f\xff\xc3"
        "anull10"sv;
    std::string text;
    for (std::size_t size = random() % 12 + 1; text.size() < size;)
        text +=
            random() % 4 == 0 ? static_cast<char>(random()) : kSpecial[random() % kSpecial.size()];
    return text;
}

/// A name stands once in its section.
bool is_in_sample(const std::string& name) {
    const Manifest m = sample();
    const auto has = [](const auto& list, const std::string& wanted) {
        return std::ranges::any_of(list, [&](const auto& e) { return e.name == wanted; });
    };
    const std::string in_data = "pg_data/base/" + name;
    return has(m.databases, name) || has(m.links, in_data) || has(m.targets, in_data) ||
           has(m.paths, in_data) || has(m.files, in_data);
}

// Wherever a name or a text of the outer world stands.
Manifest with_name(const std::string& name, const std::string& text) {
    Manifest m = sample();
    const std::string in_data = "pg_data/base/" + name;
    for (ManifestFile& file : m.files)
        if (file.name == "pg_data/base/1/1247") file.name = in_data;
    m.databases.push_back({name, 99, 4});
    m.links.push_back({in_data, text, text, std::nullopt});
    m.targets.push_back({in_data, true, text, "", 0, ""});
    m.targets.push_back({"pg_tblspc/77", true, text, "", 77, text});
    m.paths.push_back({in_data, 0700, text, text});
    m.annotations["key"] = text;
    const auto sort = [](auto& list) {
        std::ranges::sort(list, {}, [](auto& e) { return e.name; });
    };
    sort(m.databases), sort(m.links), sort(m.targets), sort(m.paths), sort(m.files);
    return m;
}

TEST(Manifest, EveryNameThatIsAllowedAndEveryTextComesBack) {
    std::mt19937_64 random(test_seed());
    SCOPED_TRACE("seed " + std::to_string(test_seed()));
    std::size_t refused = 0;
    for (int i = 0; i < 3000; ++i) {
        std::string name = hostile_text(random);
        std::erase(name, '/');  // what a directory cannot have is not the question here
        const std::string text = hostile_text(random);
        if (!check_manifest_name(name) || name == "." || name == ".." || is_in_sample(name)) {
            ++refused;
            continue;
        }
        const Manifest meant = with_name(name, text);
        const auto read = parse_manifest(format_manifest(meant));
        ASSERT_TRUE(read) << std::quoted(name);
        ASSERT_EQ(*read, meant) << std::quoted(name) << " " << std::quoted(text);
    }
    EXPECT_GT(refused, 100u);
    EXPECT_LT(refused, 2500u);
}

TEST(Manifest, WhatIsWrittenIsProvenToSayWhatWasMeant) {
    EXPECT_OK(prove_manifest(sample()));
    const std::string text = format_manifest(sample());
    const auto differs = [&](auto change) {
        Manifest meant = sample();
        change(meant);
        const Result<> result = compare_manifest(text, meant);
        return !result && result.error().kind() == ErrorKind::format;
    };
    EXPECT_FALSE(differs([](Manifest&) {}));
    EXPECT_TRUE(differs([](Manifest& m) { m.annotations["key two"] += "x"; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.options.delta = !m.options.delta; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.defaults.path_mode = 0755; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.defaults.group = "other"; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.files[2].size_original += 1; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.files.back().user = "somebody"; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.files.pop_back(); }));
    EXPECT_TRUE(differs([](Manifest& m) { m.files.push_back(m.files.back()); }));
    EXPECT_TRUE(differs([](Manifest& m) { m.databases[0].oid += 1; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.links[0].destination += "/"; }));
    EXPECT_TRUE(differs([](Manifest& m) { m.paths.pop_back(); }));
    EXPECT_TRUE(differs([](Manifest& m) { m.targets[0].path += "/x"; }));
}

TEST(Manifest, ANameThatCannotBeReadBackIsFoundBeforeItIsStored) {
    Manifest m = sample();
    m.files.front().name = "pg_data/a\nb";
    EXPECT_ERROR(ErrorKind::format, prove_manifest(m));
    m = sample();
    m.databases.front().name = "a\nb";
    EXPECT_ERROR(ErrorKind::format, prove_manifest(m));
    m = sample();
    m.annotations["a\nb"] = "x";
    EXPECT_ERROR(ErrorKind::format, prove_manifest(m));
    m = sample();
    m.annotations["a\"b"] = "x";
    EXPECT_FALSE(prove_manifest(m));
}

TEST(Manifest, MembersThatSayNothingNeedNotComeBack) {
    Manifest m = sample();
    for (ManifestFile& file : m.files)
        if (file.size == 0) file.checksum = std::string(40, 'a');
    EXPECT_OK(prove_manifest(m));
}

TEST(Sha1Text, StandsForAStringWhereOneGoes) {
    const std::string digits(40, 'f');
    Sha1Text text = digits;
    EXPECT_EQ(text, digits);
    EXPECT_EQ(text.str(), digits);
    text = "";
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(text.str(), "");
    EXPECT_THROW(text = "abc", std::invalid_argument);
}

}  // namespace
}  // namespace chronos::repo
