Console.WriteLine("DemoModels");
