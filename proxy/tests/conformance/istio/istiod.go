// Istio's control plane where there is no Kubernetes: configuration from a directory, identities for who has a token.
//
// The stock program ends with a panic without a cluster. This one is the same server with an empty cluster in memory.
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"reflect"
	"sync/atomic"
	"syscall"
	"unsafe"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/multicluster"
)

func main() {
	args := bootstrap.NewPilotArgs()
	flag.StringVar(&args.RegistryOptions.FileDir, "config", "", "directory with the mesh's resources")
	flag.StringVar(&args.MeshConfigFile, "mesh", "", "file with the MeshConfig")
	flag.Parse()
	args.RegistryOptions.Registries = nil
	args.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
	args.RegistryOptions.KubeOptions.ClusterID = cluster.ID("Kubernetes")
	args.PodName = "istiod-0"
	args.ServerOptions.GRPCAddr = ":15010"
	args.ServerOptions.SecureGRPCAddr = ":15012"
	args.ServerOptions.HTTPAddr = ":15080"
	args.ServerOptions.MonitoringAddr = ":15014"
	args.ServerOptions.TLSOptions.TLSMinVersion = bootstrap.TLSMinVersion1_2
	must(args.Complete())

	stop := make(chan struct{})
	api := kube.NewFakeClient()
	var clusters *multicluster.Controller
	server, err := bootstrap.NewServer(args, func(server *bootstrap.Server) {
		// Nobody injects sidecars here, and the server would wait for the web hooks that do.
		ready := reflect.ValueOf(field(server, "readinessFlags")).Elem()
		for _, flag := range []string{"sidecarInjectorReady", "configValidationReady"} {
			(*atomic.Bool)(ready.FieldByName(flag).Addr().UnsafePointer()).Store(true)
		}
		clusters = multicluster.NewController(multicluster.ControllerOptions{
			Client:          api,
			ClusterID:       args.RegistryOptions.KubeOptions.ClusterID,
			SystemNamespace: args.Namespace,
			Debugger:        args.KrtDebugger,
		})
		slot(server, "multiclusterController").Set(reflect.ValueOf(clusters))
	})
	must(err)
	must(clusters.Run(stop))
	go api.RunAndWait(stop)
	must(server.Start(stop))

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
	close(stop)
	server.WaitUntilCompletion()
}

// The server has no other way to be told.
func slot(server *bootstrap.Server, name string) reflect.Value {
	private := reflect.ValueOf(server).Elem().FieldByName(name)
	if !private.IsValid() {
		log.Fatalf("istiod: the server of this version has no %s", name)
	}
	return reflect.NewAt(private.Type(), unsafe.Pointer(private.UnsafeAddr())).Elem()
}

func field(server *bootstrap.Server, name string) any {
	return slot(server, name).Interface()
}

func must(err error) {
	if err != nil {
		log.Fatalf("istiod: %v", err)
	}
}
