module image-volume-cache/tools/gophercloud

go 1.26.4

require github.com/gophercloud/gophercloud/v2 v2.16.0
