# An object store for a test (test/support/s3_server.py), and the options that lead to a bucket of it.
#   my $server = S3Server->new(buckets => ['one']);
#   $server->{https}, {http}, {key}, {secret}, {ca}
#   $server->options('one', style => 'host')       for write_config
#   $server->command('quota 1000000')
#   my $proxy = $server->fault_proxy;              in front of it; $proxy->{port}
#   $proxy->command('rule lost POST uploadId')
#   my $link = $server->slow_link(rtt => 50);      in front of it; $link->{port}
# Each ends with its object.
package S3Server::Tool;

use strict;
use warnings;
use File::Basename qw(dirname);
use IPC::Open2 ();

my $support = dirname(__FILE__) . '/../../support';

# Starts a program of test/support and takes the line with which it says that it is there.
sub start
{
	my ($class, $program, @arguments) = @_;
	my $pid = IPC::Open2::open2(my $out, my $in, 'python3', "$support/$program", @arguments);
	my $line = readline($out) // die "$program did not start";
	chomp $line;
	return bless { pid => $pid, out => $out, in => $in, hello => $line }, $class;
}

# Obeys a command and returns the answer's line.
sub ask
{
	my ($self, $text) = @_;
	my $in = $self->{in};
	print $in "$text\n";
	$in->flush;
	my $answer = readline($self->{out}) // die "the tool ended at '$text'";
	die "$text: $answer" if $answer =~ /^error/;
	chomp $answer;
	return $answer;
}

sub command { my ($self, @words) = @_; return $self->ask(@words) }

sub stop
{
	my ($self) = @_;
	return if !defined $self->{pid};
	close $self->{in};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	$self->stop;
	return;
}

package S3Server;

use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;

our @ISA = ('S3Server::Tool');

sub new
{
	my ($class, %params) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/s3';
	my $self = $class->start('s3_server.py', $dir, map { ('--bucket', $_) } @{ $params{buckets} // [] });
	%$self = (%$self, %{ JSON::PP::decode_json($self->{hello}) });
	return $self;
}

# Returns what is behind "ok ".
sub command
{
	my ($self, $text) = @_;
	return $self->ask($text) =~ s/^ok //r =~ s/\s+$//r;
}

sub fault_proxy
{
	my ($self) = @_;
	my $tool = S3Server::Tool->start('fault_proxy.py', @$self{qw(http crt private_key)});
	$tool->{port} = $tool->{hello};
	return $tool;
}

sub slow_link
{
	my ($self, %how) = @_;
	my $tool = S3Server::Tool->start('slow_link.py', "localhost:$self->{https}", '--rtt', $how{rtt} // 50);
	$tool->{port} = $tool->{hello};
	return $tool;
}

# The keys below a prefix of a bucket, sorted.
sub keys_below
{
	my ($self, $bucket, $prefix) = @_;
	require MIME::Base64;
	my @keys;
	my $after = '';
	while (1)
	{
		my $query = 'list-type=2&prefix=' . _encode($prefix);
		$query .= '&start-after=' . _encode($after) if $after ne '';
		my ($status, $body) = split / /, $self->command("get '/$bucket?$query'");
		die "list of $bucket: $status" if $status != 200;
		my $xml = MIME::Base64::decode_base64($body);
		my @page = $xml =~ m{<Key>([^<]*)</Key>}g;
		push @keys, @page;
		last if $xml !~ m{<IsTruncated>true} || !@page;
		$after = $page[-1];
	}
	return @keys;
}

sub _encode { return $_[0] =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger }

# Options of repo1 that lead to a bucket; port => that of a proxy in front.
sub options
{
	my ($self, $bucket, %how) = @_;
	my $key = $how{repo} // 1;
	my $style = $how{style} // 'path';
	my %options = (
		'type' => 's3', 's3-bucket' => $bucket, 's3-region' => 'us-east-1',
		's3-key' => $self->{key}, 's3-key-secret' => $self->{secret}, 's3-uri-style' => $style,
		's3-endpoint' => $style eq 'path' ? 'localhost' : 's3.test',
		'storage-port' => $how{port} // $self->{https}, 'storage-ca-file' => $self->{ca});
	$options{'storage-host'} = 'localhost' if $style eq 'host';
	return map { ("repo$key-$_" => $options{$_}) } keys %options;
}

1;
